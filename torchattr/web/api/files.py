"""Routes that return files: pictures, raw values and figures."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from PIL import Image
from pydantic import BaseModel

from torchattr.errors import InputError
from torchattr.web.api.dependencies import Index, ItemId, SessionDep, ViewerDep
from torchattr.web.map_style import MapStyle
from torchattr.web.state.stored import (
    StoredFeatureMaps,
    StoredFigure,
    StoredImage,
    StoredMap,
    as_npz,
    as_png,
    fitted,
)
from torchattr.web.viewer import Viewer

SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""An SVG may contain styles, but no scripts."""

CACHED = {"cache-control": "private, max-age=3600"}

router = APIRouter(prefix="/api")


@router.get("/pictures/{key}.png")
async def picture_png(
    viewer: ViewerDep, session: SessionDep, key: ItemId, side: Annotated[int, Query(ge=16)] = 4096
) -> Response:
    """Return a picture, scaled down to `side` pixels on its longer side."""
    picture = viewer.picture(session, key)
    side = min(side, viewer.limits.side)
    name = f"{PurePath(picture.name).stem}.png"
    return await _png(viewer, lambda: fitted(picture.prepared.original, side), name)


@router.get("/results/{key}.f32")
def raw(
    viewer: ViewerDep, session: SessionDep, key: ItemId, channels: str | None = None
) -> Response:
    """Return the values of a map, or of selected feature maps, as little-endian float32."""
    item = session.item(key)
    if isinstance(item, StoredFeatureMaps):
        chosen = _channels(channels, len(item.values), viewer.limits.maps)
        return _binary(item.values[chosen].astype("<f4").tobytes())
    return _binary(session.get(key, StoredMap).values.astype("<f4").tobytes())


@router.get("/results/{key}.npz")
async def npz(viewer: ViewerDep, session: SessionDep, key: ItemId) -> Response:
    """Return the raw values for download."""
    item = viewer.examples.get(key) or session.item(key)
    arrays = item.arrays()
    if not arrays:
        raise InputError(f"{item.name} has no raw values")
    return _download(await _in_drawing_pool(viewer, lambda: as_npz(arrays)), f"{item.name}.npz")


class DownloadRequest(BaseModel):
    """Style of a downloaded picture; omitted values are those of the result."""

    kind: str | None = None
    channels: str | None = None
    sign: str | None = None
    percentile: float | None = None
    cmap: str | None = None
    alpha: float | None = None
    dim: float | None = None
    channel: Index | None = None
    shared: bool = False


@router.get("/results/{key}.png")
async def png(
    viewer: ViewerDep, session: SessionDep, key: ItemId, query: Annotated[DownloadRequest, Query()]
) -> Response:
    """Return a result, drawn in full size."""
    item = session.item(key)
    name = f"{item.name}.png"
    if isinstance(item, StoredMap):
        changes = query.model_dump(exclude_none=True, exclude={"channel", "shared"})
        style = MapStyle(**{**item.style.as_json(), **changes})
        style.check()
        return await _png(viewer, lambda: item.draw(style, viewer.limits.side), name)
    if isinstance(item, StoredFeatureMaps):
        return await _png(viewer, lambda: _draw_feature_maps(item, query), name)
    image = session.get(key, StoredImage).image
    return await _png(viewer, lambda: image, name)


@router.get("/results/{key}.svg")
def svg(session: SessionDep, key: ItemId) -> Response:
    """Return a figure."""
    figure = session.get(key, StoredFigure)
    named = _disposition(f"{figure.name}.svg", "inline")
    headers = {**CACHED, **named, "content-security-policy": SVG_POLICY}
    return Response(figure.svg, media_type="image/svg+xml", headers=headers)


def _draw_feature_maps(item: StoredFeatureMaps, query: DownloadRequest) -> Image.Image:
    if query.channel is None:
        return item.grid(shared=query.shared, cmap=query.cmap)
    if query.channel >= len(item.values):
        raise InputError(
            f"channel {query.channel} is out of range for a layer with {len(item.values)} maps"
        )
    return item.draw(query.channel, 512, query.shared, query.cmap)


def _channels(text: str | None, count: int, limit: int) -> list[int]:
    """Parse channel numbers such as `0,5,3`."""
    if text is None or not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text):
        raise InputError("channels must be comma-separated numbers such as 0,5,3")
    chosen = [int(number) for number in text.split(",")]
    if len(chosen) > limit or max(chosen) >= count:
        raise InputError(f"channels must be at most {limit} numbers within 0..{count - 1}")
    return chosen


async def _in_drawing_pool(viewer: Viewer, job: Callable[[], bytes]) -> bytes:
    """Run work that needs much memory, but not the model, in a small thread pool."""
    return await asyncio.get_running_loop().run_in_executor(viewer.drawing, job)


async def _png(viewer: Viewer, draw: Callable[[], Image.Image], name: str) -> Response:
    data = await _in_drawing_pool(viewer, lambda: as_png(draw()))
    return Response(
        data, media_type="image/png", headers={**CACHED, **_disposition(name, "inline")}
    )


def _binary(data: bytes) -> Response:
    return Response(data, media_type="application/octet-stream", headers=CACHED)


def _download(data: bytes, name: str) -> Response:
    return Response(
        data,
        media_type="application/octet-stream",
        headers={**CACHED, **_disposition(name, "attachment")},
    )


def _disposition(name: str, how: str) -> dict[str, str]:
    """Return the header with the file name: in ASCII, and in its own script (RFC 6266)."""
    own = re.sub(r"[^\w.]+", "-", name).strip("-") or "result"
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", own).strip("-") or "result"
    extended = "" if plain == own else f"; filename*=UTF-8''{quote(own)}"
    return {"content-disposition": f'{how}; filename="{plain}"{extended}'}
