"""Receiving request bodies within bounds of size and time."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from torchattr.web.state.limits import Limits

FRAMING_BYTES = 16 * 1024
"""Allowance for the multipart framing around an uploaded file."""


class RequestBody:
    """The body of one request, received within bounds of size and time.

    Args:
        scope: the ASGI scope of the request.
        receive: the ASGI channel of incoming messages.
        limits: the bounds.
    """

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._limits = limits
        self._is_form = "multipart/form-data" in headers.get("content-type", "").lower()
        self._received = 0
        self._announced = headers.get("content-length", "0")
        self._started: float | None = None
        self.complete = self._announced == "0" and "transfer-encoding" not in headers
        """Whether the whole body has been received; true from the start if there is none."""

    @property
    def too_large(self) -> str | None:
        """Why the body is rejected, if the announced or received size is too large."""
        digits = self._announced.strip()
        announced = int(digits) if digits.isdecimal() and len(digits) < 20 else 0
        return (
            self._message if max(announced, self._received) > self._limit + self._framing else None
        )

    async def receive(self) -> Message:
        """Return the next ASGI message.

        Raises:
            HTTPException: the body is larger than allowed, whatever was announced, or too slow.
        """
        message = await self._next_message()
        self._received += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.complete = True
        if self.too_large:
            raise HTTPException(413, self._message)
        return message

    async def _next_message(self) -> Message:
        if self.complete:
            return await self._receive()
        try:
            return await asyncio.wait_for(self._receive(), self._seconds_left())
        except asyncio.TimeoutError:
            raise HTTPException(
                408,
                "Request timed out: the body must arrive at"
                f" {self._limits.body_rate:,} bytes per second or faster.",
            ) from None

    def _seconds_left(self) -> float:
        """Return the seconds within which the next message must arrive."""
        now = asyncio.get_running_loop().time()
        self._started = now if self._started is None else self._started
        allowed = self._limits.body_seconds + self._received / self._limits.body_rate
        return max(0.0, self._started + allowed - now)

    @property
    def _limit(self) -> int:
        return self._limits.upload_bytes if self._is_form else self._limits.body_bytes

    @property
    def _framing(self) -> int:
        return FRAMING_BYTES if self._is_form else 0

    @property
    def _message(self) -> str:
        what = "The file" if self._is_form else "The request"
        return f"{what} is too large; the limit is {self._limit:,} bytes."
