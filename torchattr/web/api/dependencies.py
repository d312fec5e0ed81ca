"""FastAPI dependencies of the routes: the viewer, and the session of the visitor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request, Response
from pydantic import Field

from torchattr.web.state.sessions import Session
from torchattr.web.viewer import Viewer

ItemId = Annotated[str, Field(max_length=64)]
Name = Annotated[str, Field(max_length=400)]
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]


def viewer_of(request: Request) -> Viewer:
    """Return the viewer that handles a request; a dependency for additional routes, too."""
    viewer: Viewer = request.app.state.viewer
    return viewer


ViewerDep = Annotated[Viewer, Depends(viewer_of)]


async def session_of(
    request: Request, response: Response, viewer: ViewerDep
) -> AsyncIterator[Session]:
    """Yield the session of the visitor, which is in use until the request is answered.

    A new session sets a cookie.

    Raises:
        TooManySessions: all sessions are in use.
    """
    name = f"torchattr_session_{viewer.instance}"
    cookie = request.cookies.get(name)
    with viewer.sessions.visit(cookie) as (key, session):
        if key != cookie:
            secure = request.scope["scheme"] == "https"
            response.set_cookie(name, key, httponly=True, samesite="strict", secure=secure)
        yield session


SessionDep = Annotated[Session, Depends(session_of)]
