"""Taking in the body of a request: no more than is allowed, and not for ever."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from torchattr.web.state.limits import Limits

FRAMING_BYTES = 16 * 1024
"""What a form adds to the file that it carries."""


class Intake:
    """Reads the body of one request within bounds of size and time.

    Args:
        scope: the request.
        receive: gives what comes in.
        limits: the bounds.
    """

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._limits = limits
        self._is_form = "multipart/form-data" in headers.get("content-type", "").lower()
        self._taken = 0
        self._announced = headers.get("content-length", "0")
        self._since: float | None = None
        self.complete = self._announced == "0" and "transfer-encoding" not in headers
        """Whether all of the body has come, which is so at once if there is none."""

    @property
    def too_large(self) -> str | None:
        """Say why the body is not taken, if the request announces too much of it."""
        digits = self._announced.strip()
        announced = int(digits) if digits.isdecimal() and len(digits) < 20 else 0
        return self._refusal if max(announced, self._taken) > self._most + self._spare else None

    async def receive(self) -> Message:
        """Give what comes next.

        Raises:
            HTTPException: too much came, whatever was announced, or too slowly.
        """
        message = await self._timely()
        self._taken += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.complete = True
        if self.too_large:
            raise HTTPException(413, self._refusal)
        return message

    async def _timely(self) -> Message:
        if self.complete:
            return await self._receive()
        try:
            return await asyncio.wait_for(self._receive(), self._left())
        except asyncio.TimeoutError:
            raise HTTPException(
                408,
                "The request came too slowly, so it was given up; at least"
                f" {self._limits.body_rate:,} bytes a second are expected.",
            ) from None

    def _left(self) -> float:
        """Give the seconds until the next part must be here."""
        now = asyncio.get_running_loop().time()
        self._since = now if self._since is None else self._since
        allowed = self._limits.body_seconds + self._taken / self._limits.body_rate
        return max(0.0, self._since + allowed - now)

    @property
    def _most(self) -> int:
        return self._limits.upload_bytes if self._is_form else self._limits.body_bytes

    @property
    def _spare(self) -> int:
        return FRAMING_BYTES if self._is_form else 0

    @property
    def _refusal(self) -> str:
        what = "The file" if self._is_form else "The request"
        return f"{what} is too large; at most {self._most:,} bytes are taken."
