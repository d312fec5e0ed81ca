"""Middleware that checks host, origin, token and body size of every request."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from torchattr.web.problem import HEADERS, Problem
from torchattr.web.request_body import RequestBody
from torchattr.web.state.limits import Limits

LOCAL = ("localhost", "127.0.0.1", "::1")
"""Host names of this machine."""


class Guard:
    """Rejects requests without a token, from other sites, or with too much data.

    Args:
        app: the guarded application.
        hosts: accepted host names, against DNS rebinding; `None` accepts any, which is safe with
            a token.
        token: access token; `None` requires none.
        instance: identifies this viewer in cookie names, since browsers share cookies between
            ports.
        limits: bounds on request bodies.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Sequence[str] | None,
        token: str | None,
        instance: str,
        limits: Limits,
    ) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._token = token
        self._cookie = f"torchattr_token_{instance}"
        self._limits = limits
        self._bodies: set[RequestBody] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            body = RequestBody(scope, receive, self._limits)
            rejection = self._rejection(scope, Headers(scope=scope)) or self._too_much(body)
            self._bodies.add(body)
            try:
                await (rejection or self._app)(scope, body.receive, _hardened(scope, body, send))
            finally:
                self._bodies.discard(body)

    def _rejection(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the response that replaces the application's, or `None`."""
        host = headers.get("host", "")
        name = _name(host)
        if not name or (self._hosts is not None and name not in self._hosts):
            return Problem(
                421, f"This viewer does not accept requests for the host {host[:100]!r}."
            )
        if (scope["method"] not in ("GET", "HEAD")) and not _same_origin(headers, host):
            return Problem(403, "Cross-site requests are not allowed.")
        if self._token is None:
            return None
        given = QueryParams(scope["query_string"]).get("token")
        if given is not None and scope["method"] == "GET" and self._knows(given):
            return self._welcome(scope)
        if self._knows(_bearer(headers)) or self._knows(_cookie(headers, self._cookie)):
            return None
        return Problem(401, "Access token required. Open the URL printed when the viewer started.")

    def _too_much(self, body: RequestBody) -> Response | None:
        incoming = sum(not other.complete for other in self._bodies)
        if body.too_large:
            return Problem(413, body.too_large)
        if body.complete or incoming < self._limits.bodies:
            return None
        return Problem(
            503,
            f"{incoming} requests are already being received, the most at once. Try again in a"
            " moment.",
            1.0,
        )

    def _knows(self, given: str | None) -> bool:
        token = self._token or ""
        return given is not None and hmac.compare_digest(given.encode(), token.encode())

    def _welcome(self, scope: Scope) -> Response:
        """Move the token from the URL into a cookie."""
        response = RedirectResponse(scope.get("root_path", "") + "/", 303)
        # Not strict: the URL may be opened from a link in an e-mail.
        response.set_cookie(
            self._cookie,
            self._token or "",
            httponly=True,
            samesite="lax",
            secure=scope["scheme"] == "https",
        )
        return response


def is_local(host: str) -> bool:
    """Whether an address is reachable from this machine only.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0"), is_local("::1")
    (True, True, False, True)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _hardened(scope: Scope, body: RequestBody, send: Send) -> Send:
    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
            if not body.complete and scope.get("http_version", "1.1").startswith("1"):
                # Reading the rest only to reuse the connection would cost its sender's bandwidth.
                headers["connection"] = "close"
        await send(message)

    return hardened


def _name(host: str) -> str:
    """Return the name of `name:port` in lower case; empty if it is invalid."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "").lower() if parts.netloc == host else ""
    except ValueError:
        return ""


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether the request comes from the page itself; programs send no origin and pass."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def _bearer(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def _cookie(headers: Headers, name: str) -> str | None:
    return cookie_parser(headers.get("cookie", "")).get(name)
