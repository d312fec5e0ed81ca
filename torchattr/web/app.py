"""The ASGI application: the page, the API, the guard in front of them and the error answers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
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
from torchattr.models import LoadedModel, find_images, load_model
from torchattr.runs import short_repr
from torchattr.web.api import files, routes
from torchattr.web.guard import LOCAL, Guard
from torchattr.web.problem import Problem
from torchattr.web.state.limits import Limits
from torchattr.web.state.sessions import PayloadTooLarge, ResultExpired, TooManySessions
from torchattr.web.state.worker import JobCancelled, JobNotFound, WorkerBusy
from torchattr.web.viewer import Viewer
from torchattr.web.wording import in_viewer

PAGE = Path(__file__).parent / "page"
STATUS: dict[type[TorchattrError], int] = {
    ResultExpired: 404,
    JobNotFound: 404,
    PayloadTooLarge: 413,
    JobCancelled: 499,
    WorkerBusy: 503,
    TooManySessions: 503,
}
"""HTTP status of errors; all others of this package are invalid input, 422."""

RETRY_SECONDS = 2.0
"""`Retry-After` of a busy viewer."""


def create_app(
    loaded: LoadedModel | None = None,
    *,
    images: Sequence[str | Path] | None = None,
    others: Sequence[LoadedModel] = (),
    token: str | None = None,
    hosts: Sequence[str] | None = LOCAL,
    limits: Limits | None = None,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """Return the viewer as an ASGI application, to be served or mounted into another one.

    Args:
        loaded: the model; default: the bundled one.
        images: pictures offered to every visitor; default: bundled ones that the model
            knows.
        others: models to compare it with, of which visitors choose one on the page.
        token: access token, accepted once as `?token=` or as a bearer token; `None` allows
            everybody, which is safe on a local address only.
        hosts: accepted host names; `None` accepts any, which requires a token.
        limits: bounds on uploads, sessions and queued requests.
        routers: additional routes, behind the same guard; `torchattr.web.viewer_of` and
            `session_of` are dependencies for them.

    Raises:
        InputError: any host is accepted, but no token is given.
        ImageError: a picture that cannot be read.

    >>> from torchattr.web import create_app
    >>> create_app().title
    'torchattr'
    """
    limits = limits or Limits()
    _check_token(hosts, token)
    loaded = loaded or load_model("demo")
    paths = find_images(loaded.examples) if images is None else list(map(Path, images))
    viewer = Viewer(loaded, paths, limits, others)
    of_the_viewer = (routes.router, files.router, *routers)
    app = guarded_app(of_the_viewer, "index.html", hosts, token, viewer.instance, limits, _closing)
    app.state.viewer = viewer
    return app


def guarded_app(
    routers: Sequence[APIRouter],
    page: str,
    hosts: Sequence[str] | None,
    token: str | None,
    instance: str,
    limits: Limits,
    lifespan: Any = None,
) -> FastAPI:
    """Return an application with a page and its routes behind the guard.

    Args:
        routers: its routes.
        page: the file of the page.
        hosts, token, limits: see :func:`create_app`.
        instance: identifies it in the names of cookies.
        lifespan: what runs when it ends.

    Raises:
        InputError: any host is accepted, but no token is given.
    """
    _check_token(hosts, token)
    app = FastAPI(
        title="torchattr",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_api_route("/", _page(page), include_in_schema=False)
    for router in routers:
        app.include_router(router)
    app.mount("/page", StaticFiles(directory=PAGE), "page")
    app.add_middleware(Guard, hosts=hosts, token=token, instance=instance, limits=limits)
    _add_error_handlers(app)
    return app


def _check_token(hosts: Sequence[str] | None, token: str | None) -> None:
    if hosts is None and token is None:
        raise InputError("hosts=None accepts requests under any host name, which requires a token")


@asynccontextmanager
async def _closing(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.viewer.close()


def _page(file: str) -> Callable[[], Response]:
    def page() -> Response:
        return FileResponse(PAGE / file, headers={"cache-control": "no-cache"})

    return page


def _add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(TorchattrError, _package_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    app.add_exception_handler(Exception, _unexpected_error)


def _package_error(request: Request, error: Any) -> Response:
    status = next((code for cls, code in STATUS.items() if isinstance(error, cls)), 422)
    again = getattr(error, "seconds", RETRY_SECONDS) if status == 503 else None
    return Problem(status, _sentence(error.said(in_viewer)), again)


def _http_error(request: Request, error: Any) -> Response:
    if error.status_code == 404:
        return Problem(404, f"Not found: {_path(request)}.")
    if error.status_code == 405:
        return Problem(405, f"Method {request.method} is not allowed for {_path(request)}.")
    return Problem(error.status_code, _sentence(str(error.detail)))


def _path(request: Request) -> str:
    path = str(request.scope["path"])[:200]
    return "".join(char if char.isprintable() else "?" for char in path)


def _disconnected(request: Request, error: Exception) -> Response:
    return Problem(499, "The client disconnected before the whole request was received.")


def _validation_error(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"][1:]))
    if first["loc"] == ("body",) or first["type"] == "json_invalid":
        return Problem(422, "The request body must be a JSON object (application/json).")
    if first["type"] == "missing":
        return Problem(422, f"{field} is missing.")
    if first["type"] == "extra_forbidden":
        return Problem(422, f"Unknown field: {field}.")
    reason = re.sub(r"^(Input|String|List|Value) ", "", first["msg"])
    return Problem(422, _sentence(f"{field} {reason}, got {short_repr(first['input'])}"))


def _unexpected_error(request: Request, error: Exception) -> Response:
    message = str(error).strip().partition("\n")[0][:300]
    return Problem(
        500,
        _sentence(f"The model or method raised {type(error).__name__}: {message or '(no message)'}")
        + " The viewer's terminal shows the traceback.",
    )


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
