"""What stands before every request: who may ask, from where, and how much."""

from __future__ import annotations

import hmac
import ipaddress
import math
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from torchattr.web.api.intake import Intake
from torchattr.web.state.limits import Limits

LOCAL = ("localhost", "127.0.0.1", "::1")
"""The names under which a machine reaches itself."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Nothing comes from elsewhere, nothing runs but the page's own files, nobody frames it."""


def problem(status: int, sentence: str, again: float | None = None) -> JSONResponse:
    """Give an error as a sentence, and after how many seconds to ask again."""
    retry = {} if again is None else {"retry-after": str(math.ceil(again))}
    return JSONResponse({"error": sentence}, status, headers={**HEADERS, **retry})


class Guard:
    """Refuses requests of strangers, of other sites, and of too much data.

    Args:
        app: what is guarded.
        hosts: the names under which it may be asked, against DNS rebinding; `None` takes any, which
            a token makes safe.
        token: what a visitor must know; `None` asks for nothing.
        instance: a number of this viewer, since browsers share cookies between ports.
        limits: how much a request may carry.
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
        self._intakes: set[Intake] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            intake = Intake(scope, receive, self._limits)
            refusal = self._answer(scope, Headers(scope=scope)) or self._no_room(intake)
            self._intakes.add(intake)
            try:
                await (refusal or self._app)(scope, intake.receive, _hardened(scope, intake, send))
            finally:
                self._intakes.discard(intake)

    def _answer(self, scope: Scope, headers: Headers) -> Response | None:
        """Give what is said instead of the application's answer, if anything."""
        host = headers.get("host", "")
        name = _name(host)
        if not name or (self._hosts is not None and name not in self._hosts):
            return problem(421, f"This viewer does not answer under the name {host[:100]!r}.")
        if (scope["method"] not in ("GET", "HEAD")) and not _same_origin(headers, host):
            return problem(403, "This request came from another site, so it was refused.")
        if self._token is None:
            return None
        given = QueryParams(scope["query_string"]).get("token")
        if given is not None and scope["method"] == "GET" and self._knows(given):
            return self._welcome(scope)
        if self._knows(_bearer(headers)) or self._knows(_cookie(headers, self._cookie)):
            return None
        return problem(
            401, "A token is needed. Open the address that was printed when the viewer started."
        )

    def _no_room(self, intake: Intake) -> Response | None:
        coming = sum(not one.complete for one in self._intakes)
        if intake.too_large:
            return problem(413, intake.too_large)
        if intake.complete or coming < self._limits.bodies:
            return None
        return problem(
            503,
            f"There are {coming} requests on their way in, as many as are taken at once. Try again"
            " in a moment.",
            1.0,
        )

    def _knows(self, given: str | None) -> bool:
        token = self._token or ""
        return given is not None and hmac.compare_digest(given.encode(), token.encode())

    def _welcome(self, scope: Scope) -> Response:
        """Put the token into a cookie, and take it out of the address."""
        response = RedirectResponse(scope.get("root_path", "") + "/", 303)
        # Not strict: the address may be opened from a link in a mail.
        response.set_cookie(
            self._cookie,
            self._token or "",
            httponly=True,
            samesite="lax",
            secure=scope["scheme"] == "https",
        )
        return response


def is_local(host: str) -> bool:
    """Tell whether only this machine can reach an address.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0"), is_local("::1")
    (True, True, False, True)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _hardened(scope: Scope, intake: Intake, send: Send) -> Send:
    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
            if not intake.complete and scope.get("http_version", "1.1").startswith("1"):
                # What is still to come is not read to its end for the sake of the connection.
                headers["connection"] = "close"
        await send(message)

    return hardened


def _name(host: str) -> str:
    """Give the name of `name:port`, in small letters; empty if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "").lower() if parts.netloc == host else ""
    except ValueError:
        return ""


def _same_origin(headers: Headers, host: str) -> bool:
    """Tell whether a browser says that its own page asks; other programs say nothing."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def _bearer(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def _cookie(headers: Headers, name: str) -> str | None:
    return cookie_parser(headers.get("cookie", "")).get(name)
