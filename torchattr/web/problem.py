"""Error responses: JSON for programs, a page for a browser that was sent there."""

from __future__ import annotations

import base64
import hashlib
import html
import math
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

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
"""Only the page's own files are loaded and run, and no other site may frame the page."""

STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:17px/1.55 system-ui,sans-serif;max-width:36em;margin:18vh auto;padding:0 24px}"
    "h1{font-size:22px}"
)

PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>torchattr</title><style>{style}</style>"
    "<main><h1>torchattr</h1><p>{message}</p></main></html>"
)

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'"
"""Only the style above is applied; the files of the viewer may need the token that is missing."""


class Problem(Response):
    """An error: `{"error": message}`, or a page with the message where HTML is accepted.

    Args:
        status: HTTP status.
        message: what went wrong and what to do, in sentences.
        retry_after: seconds after which to retry.

    >>> Problem(404, "There is no such picture.").status_code
    404
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(status_code=status)
        self._message = message
        retry = {} if retry_after is None else {"retry-after": str(math.ceil(retry_after))}
        # An unexpected error is answered outside of the guard, which adds these to all others.
        self._sent: Mapping[str, str] = {**HEADERS, **retry}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        accepts_html = "text/html" in Headers(scope=scope).get("accept", "")
        response = self._as_page() if accepts_html else self._as_json()
        await response(scope, receive, send)

    def _as_json(self) -> Response:
        return JSONResponse({"error": self._message}, self.status_code, self._sent)

    def _as_page(self) -> Response:
        page = PAGE.format(style=STYLE, message=html.escape(self._message))
        headers = {**self._sent, "content-security-policy": POLICY}
        return HTMLResponse(page, self.status_code, headers)
