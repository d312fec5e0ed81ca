"""Serving the viewer on this machine, or with a token on others."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI

from torchattr.errors import Hint, InputError, Message, TorchattrError, WayOut
from torchattr.models import LoadedModel
from torchattr.web.app import create_app
from torchattr.web.guard import LOCAL, is_local
from torchattr.web.timeouts import Patient

CONNECTIONS = 256
"""How many connections there are at once; further ones are told that there are too many."""

GRACE_SECONDS = 3
"""How long what is on its way may take when the viewer ends."""


class AddressError(TorchattrError, OSError):
    """An address at which the viewer cannot listen."""


@dataclass(frozen=True)
class Address:
    """Where the viewer listens.

    >>> Address("127.0.0.1", 8765).url, Address("::1", 80, "secret").url
    ('http://127.0.0.1:8765/', 'http://[::1]:80/?token=secret')
    """

    host: str
    port: int
    token: str | None = None

    @property
    def url(self) -> str:
        host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(
            self.host, self.host
        )
        shown = f"[{host}]" if ":" in host else host
        asked = f"?token={quote(self.token)}" if self.token else ""
        return f"http://{shown}:{self.port}/{asked}"


def token_for(host: str, token: str | None) -> str | None:
    """Give the token that an address needs; a new one where others can reach it.

    Raises:
        InputError: one that is too short to be secret.
    """
    if token is not None and len(token) < 16:
        raise InputError(f"token must have at least 16 characters, got {len(token)}")
    return token if token is not None or is_local(host) else secrets.token_urlsafe(24)


def listen(host: str, port: int) -> socket.socket:
    """Take a port, or a free one for 0.

    Raises:
        AddressError: it is in use, or not ours to take.
    """
    if not 0 <= port <= 65535:
        raise AddressError(f"port must be within 0..65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
        taken.listen(128)
    except OSError as error:
        taken.close()
        raise AddressError(_why(host, port, error)) from error
    return taken


def serve(
    loaded: LoadedModel,
    images: Sequence[Path] | None,
    listening: socket.socket,
    address: Address,
    ready: Callable[[], None],
) -> None:
    """Serve until Ctrl-C; `ready` is called before the first request is answered."""
    hosts = None if address.token else (*LOCAL, address.host)
    app = create_app(loaded, images=images, token=address.token, hosts=hosts)
    ready()
    server_of(app).run(sockets=[listening])


def server_of(app: FastAPI) -> uvicorn.Server:
    """Make a server for the viewer, patient neither with strangers nor at its end."""
    config = uvicorn.Config(
        app,
        http=Patient,
        log_level="warning",
        access_log=False,  # Addresses may hold the token.
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def _why(host: str, port: int, error: OSError) -> Message:
    if error.errno == errno.EADDRINUSE:
        return Message(
            f"port {port} of {host} is in use already, perhaps by another viewer",
            Hint(ways_out=[WayOut("choose another; {setting} takes any free one", "port", 0)]),
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        advice = WayOut("choose one above 1023 with {setting}", "port")
        return Message(f"port {port} needs more privileges", Hint(ways_out=[advice]))
    return Message(f"cannot listen on {host}, port {port}: {error.strerror or error}")
