"""What every route gets: the viewer, and the session of whoever asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request, Response
from pydantic import Field

from torchattr.web.state.sessions import Session
from torchattr.web.state.viewer import Viewer

Number = Annotated[str, Field(max_length=64)]
Name = Annotated[str, Field(max_length=400)]
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]


def viewer_of(request: Request) -> Viewer:
    """Give the viewer that a request is for; for routes of one's own, too."""
    viewer: Viewer = request.app.state.viewer
    return viewer


TheViewer = Annotated[Viewer, Depends(viewer_of)]


async def session_of(
    request: Request, response: Response, viewer: TheViewer
) -> AsyncIterator[Session]:
    """Give the session of whoever asks; a new one gets a cookie.

    It is in use until the request is answered.

    Raises:
        Crowded: there is no room for a new one.
    """
    name = f"torchattr_session_{viewer.instance}"
    known = request.cookies.get(name)
    with viewer.sessions.visit(known) as (key, session):
        if key != known:
            secure = request.scope["scheme"] == "https"
            response.set_cookie(name, key, httponly=True, samesite="strict", secure=secure)
        yield session


TheSession = Annotated[Session, Depends(session_of)]
