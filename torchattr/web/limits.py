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
        session_bytes: what one session holds, pictures and results together; what was used longest
            ago goes first.
        sessions: how many there are at once; the one used longest ago goes first.
        idle_seconds: after so long without a request a session is forgotten.
        waiting: how many requests may wait for the model.
        forwards: how many forwards are kept for further back-projections.
        side: the longer side of a full-size picture; larger ones are drawn smaller.
        maps: how many feature maps are sent at once.

    >>> Limits(pixels=1_000_000).pixels
    1000000
    """

    upload_bytes: int = 32 * MIB
    pixels: int = 40_000_000
    body_bytes: int = 64 * 1024
    session_bytes: int = 256 * MIB
    sessions: int = 16
    idle_seconds: float = 3600.0
    waiting: int = 32
    forwards: int = 3
    side: int = 4096
    maps: int = 256
