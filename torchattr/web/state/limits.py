"""How much the viewer takes in and holds."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds of the viewer; what is beyond them is refused with a sentence, or forgotten.

    Attributes:
        upload_bytes: of one uploaded file.
        pixels: of one uploaded picture.
        body_bytes: of any other request.
        bodies: how many requests may be on their way in at once.
        body_seconds: how long a request may take to come in, on top of a second for each
            `body_rate` of its bytes.
        body_rate: bytes a second that a large request must bring.
        session_bytes: what one session keeps alive, pictures and results together, each piece of
            memory counted once; what was used longest ago goes first.
        total_bytes: likewise for all sessions together.
        sessions: how many there are at once.
        spare_seconds: after so long without a request a session makes room for a newcomer.
        idle_seconds: after so long without a request a session is forgotten in any case.
        waiting: how many requests may wait for the model.
        waiting_each: how many requests of one session may be on their way to the model.
        forwards: how many forwards are kept for further back-projections.
        forward_bytes: what they may hold together.
        side: the longer side of a full-size picture; larger ones are drawn smaller.
        maps: how many feature maps are sent at once.

    >>> Limits(pixels=1_000_000).pixels
    1000000
    """

    upload_bytes: int = 32 * MIB
    pixels: int = 40_000_000
    body_bytes: int = 64 * 1024
    bodies: int = 16
    body_seconds: float = 10.0
    body_rate: int = 64 * 1024
    session_bytes: int = 256 * MIB
    total_bytes: int = 1024 * MIB
    sessions: int = 16
    spare_seconds: float = 600.0
    idle_seconds: float = 3600.0
    waiting: int = 32
    waiting_each: int = 12
    forwards: int = 3
    forward_bytes: int = 512 * MIB
    side: int = 4096
    maps: int = 256
