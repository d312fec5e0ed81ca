"""Bounds on what the viewer accepts and stores."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds of the viewer; requests beyond them are rejected, and old results expire.

    Attributes:
        upload_bytes: size of an uploaded file.
        pixels: pixels of an uploaded picture.
        body_bytes: size of any other request body.
        bodies: number of request bodies received at once.
        body_seconds: time to receive a request body, plus one second per `body_rate` bytes.
        body_rate: minimum rate of large request bodies, bytes per second.
        session_bytes: memory that one session keeps alive, pictures and results together; the
            least recently used ones expire first.
        total_bytes: memory that all sessions together keep alive, in the same sense.
        sessions: number of sessions.
        spare_seconds: time without a request after which a session may be replaced by a new one.
        idle_seconds: time without a request after which a session ends.
        waiting: number of jobs waiting for the model.
        waiting_each: number of waiting and running jobs of one session.
        forwards: number of forward passes kept for further back-projections.
        forward_bytes: memory of these forward passes.
        side: longer side of a full-size picture, in pixels; larger pictures are scaled down.
        maps: number of feature maps sent at once.

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
