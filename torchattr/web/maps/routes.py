"""The routes of the viewer of a store of maps."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from starlette.responses import Response

from torchattr.web.maps.gallery import Gallery, Shown

MOST = 200
"""Pictures on one page, at most."""

router = APIRouter(prefix="/api/maps")


def gallery_of(request: Request) -> Gallery:
    """Return the gallery that handles a request."""
    gallery: Gallery = request.app.state.gallery
    return gallery


GalleryDep = Annotated[Gallery, Depends(gallery_of)]


# Not coroutines: a store is read and panels are drawn in threads.
@router.get("")
def about(gallery: GalleryDep) -> dict[str, Any]:
    """Describe the store."""
    return gallery.about()


@router.get("/pictures")
def pictures(
    gallery: GalleryDep,
    shown: Shown = "all",
    text: Annotated[str, Query(max_length=400)] = "",
    start: Annotated[int, Query(ge=0, le=2**53)] = 0,
    count: Annotated[int, Query(ge=1, le=MOST)] = 12,
) -> dict[str, Any]:
    """List the pictures of a page."""
    return gallery.page(shown, text, start, count)


@router.get("/pictures/{position}/panel.png")
def panel(
    gallery: GalleryDep, position: int, cell: Annotated[int, Query(ge=64, le=1024)] = 128
) -> Response:
    """Draw the maps of a picture."""
    if not 0 <= position < len(gallery.maps):
        raise HTTPException(404)
    headers = {"cache-control": "private, max-age=3600"}
    return Response(gallery.panel(position, cell), media_type="image/png", headers=headers)
