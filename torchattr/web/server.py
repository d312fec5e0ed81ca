"""Serving the viewer: its address, its access token and the uvicorn server."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from torchattr.errors import Hint, InputError, Message, TorchattrError, WayOut
from torchattr.web.guard import LOCAL, is_local

MAX_CONNECTIONS = 256
"""Concurrent connections; further ones are answered with 503."""

GRACE_SECONDS = 3
"""How long requests in progress may take to finish at shutdown."""

HEADER_SECONDS = 10.0
"""Timeout for the headers of a request; `RequestBody` limits the time for bodies."""


class AddressError(TorchattrError, OSError):
    """The viewer cannot listen on this address."""


@dataclass(frozen=True)
class Address:
    """The address that the viewer listens on.

    >>> Address("127.0.0.1", 8765).url, Address("::1", 80, "secret").url
    ('http://127.0.0.1:8765/', 'http://[::1]:80/?token=secret')
    """

    host: str
    port: int
    token: str | None = None

    @property
    def hosts(self) -> tuple[str, ...] | None:
        """The host names that are accepted; `None` for any, which a token makes safe."""
        return None if self.token else (*LOCAL, self.host)

    @property
    def url(self) -> str:
        host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(
            self.host, self.host
        )
        shown = f"[{host}]" if ":" in host else host
        query = f"?token={quote(self.token)}" if self.token else ""
        return f"http://{shown}:{self.port}/{query}"


def token_for(host: str, token: str | None) -> str | None:
    """Return the access token for an address: the given one, or a new one if it is not local.

    Raises:
        InputError: the token is too short to be secret.
    """
    if token is not None and len(token) < 16:
        raise InputError(f"token must have at least 16 characters, got {len(token)}")
    return token if token is not None or is_local(host) else secrets.token_urlsafe(24)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        AddressError: the port is in use, out of range or not permitted.
    """
    if not 0 <= port <= 65535:
        raise AddressError(f"port must be within 0..65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise AddressError(_why(host, port, error)) from error
    return listening


def serve(app: FastAPI, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve an application until Ctrl-C; `ready` is called before the first request is handled."""
    ready()
    server_of(app).run(sockets=[listening])


class _HeaderTimeout(asyncio.Protocol):
    """Closes connections on which no complete request headers arrive; mixed into uvicorn's."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any = None
    """The latest request, set by uvicorn as soon as its headers are complete."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect()

    def on_response_complete(self) -> None:
        super().on_response_complete()  # type: ignore[misc]  # defined by uvicorn
        self._expect()

    def _expect(self) -> None:
        """Close the connection unless the headers of another request arrive in time."""
        self.loop.call_later(HEADER_SECONDS, self._close_after, self.cycle)

    def _close_after(self, last: Any) -> None:
        answered = last is None or last.response_complete
        if self.cycle is last and answered and not self.transport.is_closing():
            self.transport.close()


HeaderTimeoutProtocol: type[asyncio.Protocol] = type(
    "HeaderTimeoutProtocol", (_HeaderTimeout, AutoHTTPProtocol), {}
)
"""Uvicorn's HTTP protocol with a timeout for headers."""


def server_of(app: FastAPI) -> uvicorn.Server:
    """Return a server for the viewer, with timeouts for slow clients and for shutdown."""
    config = uvicorn.Config(
        app,
        http=HeaderTimeoutProtocol,
        log_level="warning",
        access_log=False,  # URLs may contain the token.
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def _why(host: str, port: int, error: OSError) -> Message:
    if error.errno == errno.EADDRINUSE:
        return Message(
            f"port {port} on {host} is in use, perhaps by another viewer",
            Hint(ways_out=[WayOut("choose another; {setting} takes any free one", "port", 0)]),
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        advice = WayOut("choose one above 1023 with {setting}", "port")
        return Message(f"no permission to listen on port {port}", Hint(ways_out=[advice]))
    return Message(f"cannot listen on {host}, port {port}: {error.strerror or error}")
