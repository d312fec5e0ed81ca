"""Closing connections over which no whole request comes."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEADER_SECONDS = 10.0
"""How long a request may take until its headers have come; bodies have a limit of their own."""


class _Patience(asyncio.Protocol):
    """What is added to the protocol that uvicorn has chosen."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any = None
    """The request that came last; another one as soon as its headers have come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect()

    def on_response_complete(self) -> None:
        super().on_response_complete()  # type: ignore[misc]  # it comes from uvicorn
        self._expect()

    def _expect(self) -> None:
        """Close the connection unless another request comes in time."""
        self.loop.call_later(HEADER_SECONDS, self._close_after, self.cycle)

    def _close_after(self, last: Any) -> None:
        answered = last is None or last.response_complete
        if self.cycle is last and answered and not self.transport.is_closing():
            self.transport.close()


Patient: type[asyncio.Protocol] = type("Patient", (_Patience, AutoHTTPProtocol), {})
"""Uvicorn's protocol for HTTP, which does not wait for ever."""
