"""The application: the page, its files, the API, and what stands before and behind them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from torchattr.errors import InputError, TorchattrError
from torchattr.models import LoadedModel, load_model
from torchattr.models.collage import examples
from torchattr.web.api import files, routes
from torchattr.web.forms import shown
from torchattr.web.guard import LOCAL, Guard, problem
from torchattr.web.state.limits import Limits
from torchattr.web.state.sessions import Crowded, Gone, TooLarge
from torchattr.web.state.viewer import Viewer
from torchattr.web.state.worker import Abandoned, Busy, NoJob
from torchattr.web.wording import in_viewer

PAGE = Path(__file__).parent / "page"
STATUS: dict[type[TorchattrError], int] = {
    Gone: 404,
    NoJob: 404,
    TooLarge: 413,
    Abandoned: 499,
    Busy: 503,
    Crowded: 503,
}
"""The status of errors that are not about what was entered."""

AGAIN_SECONDS = 2.0
"""After how long one may ask a busy viewer again."""


def create_app(
    loaded: LoadedModel | None = None,
    *,
    images: Sequence[str | Path] | None = None,
    token: str | None = None,
    hosts: Sequence[str] | None = LOCAL,
    limits: Limits | None = None,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """Make the viewer as an application, to be served alone or mounted into another one.

    Args:
        loaded: the model; `None` takes the embedded one.
        images: pictures that every visitor can choose; `None` takes those that come along.
        token: what a visitor must know, by `?token=` once or as a bearer token; `None` asks for
            nothing, which is for this machine only.
        hosts: the names under which it may be asked; `None` takes any, with a token only.
        limits: bounds of uploads, sessions and waiting requests.
        routers: routes of one's own, behind the same guard. `torchattr.web.api.visitors.viewer_of`
            and `session_of` are there for their dependencies.

    Raises:
        InputError: any host without a token.
        ImageError: a picture that cannot be read.

    >>> from torchattr.web import create_app
    >>> create_app().title
    'torchattr'
    """
    if hosts is None and token is None:
        raise InputError("hosts=None opens the viewer to every name, which needs a token")
    limits = limits or Limits()
    paths = [example.path for example in examples()] if images is None else map(Path, images)
    viewer = Viewer(loaded or load_model("demo"), list(paths), limits)
    app = FastAPI(
        title="torchattr",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=_closing,
        redirect_slashes=False,
    )
    app.state.viewer = viewer
    app.add_api_route("/", _page, include_in_schema=False)
    for router in (routes.router, files.router, *routers):
        app.include_router(router)
    app.mount("/page", StaticFiles(directory=PAGE), "page")
    app.add_middleware(Guard, hosts=hosts, token=token, instance=viewer.instance, limits=limits)
    _say_errors_in_sentences(app)
    return app


@asynccontextmanager
async def _closing(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.viewer.close()


def _page() -> Response:
    return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})


def _say_errors_in_sentences(app: FastAPI) -> None:
    app.add_exception_handler(TorchattrError, _known)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(Exception, _unknown)


def _known(request: Request, error: Any) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 422)
    again = getattr(error, "seconds", AGAIN_SECONDS) if status == 503 else None
    return problem(status, _sentence(error.said(in_viewer)), again)


def _refused(request: Request, error: Any) -> Response:
    if error.status_code == 404:
        return problem(404, f"There is nothing at {_path(request)}.")
    if error.status_code == 405:
        return problem(405, f"{request.method} is not possible at {_path(request)}.")
    return problem(error.status_code, _sentence(str(error.detail)))


def _path(request: Request) -> str:
    path = str(request.scope["path"])[:200]
    return "".join(letter if letter.isprintable() else "?" for letter in path)


def _left(request: Request, error: Exception) -> Response:
    return problem(499, "The request ended before all of it had come.")


def _invalid(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    if first["loc"] == ("body",) or first["type"] == "json_invalid":
        return problem(422, "The body of the request must be a JSON object (application/json).")
    if first["type"] == "missing":
        return problem(422, f"{place} is missing.")
    if first["type"] == "extra_forbidden":
        return problem(422, f"{place} is not known here.")
    said = re.sub(r"^(Input|String|List|Value) ", "", first["msg"])
    return problem(422, _sentence(f"{place} {said}, got {shown(first['input'])}"))


def _unknown(request: Request, error: Exception) -> Response:
    kind = type(error).__name__
    said = str(error).strip().partition("\n")[0][:300]
    return problem(
        500,
        _sentence(f"The model or method failed with {kind}: {said or 'no further words'}")
        + " The terminal of the viewer shows where.",
    )


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
