"""The routes for what is fetched as a file: pictures, raw values and figures."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Response
from PIL import Image
from pydantic import BaseModel

from torchattr.errors import InputError
from torchattr.web.api.visitors import Index, Number, TheSession, TheViewer
from torchattr.web.map_style import MapStyle
from torchattr.web.state.stored import (
    Drawn,
    StoredFeatureMaps,
    StoredMap,
    Vector,
    as_npz,
    as_png,
    fitted,
)
from torchattr.web.state.viewer import Viewer

SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""A figure may style itself, and nothing else."""

KEPT = {"cache-control": "private, max-age=3600"}

router = APIRouter(prefix="/api")


@router.get("/pictures/{key}.png")
async def picture_png(
    viewer: TheViewer, session: TheSession, key: Number, side: Annotated[int, Query(ge=16)] = 4096
) -> Response:
    """Give a picture, whose longer side has at most `side` pixels."""
    image = viewer.picture(session, key).prepared.original
    side = min(side, viewer.limits.side)
    return await _png(viewer, lambda: fitted(image, side), f"{key}.png")


@router.get("/results/{key}.f32")
def raw(
    viewer: TheViewer, session: TheSession, key: Number, channels: str | None = None
) -> Response:
    """Give the values of a map, or of some feature maps, as little-endian float32."""
    item = session.any(key)
    if isinstance(item, StoredFeatureMaps):
        chosen = _channels(channels, len(item.values), viewer.limits.maps)
        return _binary(item.values[chosen].astype("<f4").tobytes())
    return _binary(session.get(key, StoredMap).values.astype("<f4").tobytes())


@router.get("/results/{key}.npz")
async def npz(viewer: TheViewer, session: TheSession, key: Number) -> Response:
    """Give the raw values to download."""
    item = viewer.examples.get(key) or session.any(key)
    arrays = item.arrays()
    if not arrays:
        raise InputError(f"{item.name} has no values to download")
    return _download(await _aside(viewer, lambda: as_npz(arrays)), f"{item.name}.npz")


class DownloadRequest(BaseModel):
    """How a picture is to be drawn; what is left out stays as the result says."""

    kind: str | None = None
    channels: str | None = None
    sign: str | None = None
    percentile: float | None = None
    cmap: str | None = None
    alpha: float | None = None
    channel: Index | None = None
    shared: bool = False


@router.get("/results/{key}.png")
async def png(
    viewer: TheViewer, session: TheSession, key: Number, wanted: Annotated[DownloadRequest, Query()]
) -> Response:
    """Draw a result in full size."""
    item = session.any(key)
    name = f"{item.name}.png"
    if isinstance(item, StoredMap):
        changed = wanted.model_dump(exclude_none=True, exclude={"channel", "shared"})
        look = MapStyle(**{**item.look.described(), **changed})
        look.style()
        return await _png(viewer, lambda: item.draw(look, viewer.limits.side), name)
    if isinstance(item, StoredFeatureMaps):
        return await _png(viewer, lambda: _drawn_features(item, wanted), name)
    picture = session.get(key, Drawn)
    return await _png(viewer, lambda: picture.image, name)


@router.get("/results/{key}.svg")
def svg(session: TheSession, key: Number) -> Response:
    """Give a figure."""
    headers = {**KEPT, "content-security-policy": SVG_POLICY}
    return Response(session.get(key, Vector).svg, media_type="image/svg+xml", headers=headers)


def _drawn_features(item: StoredFeatureMaps, wanted: DownloadRequest) -> Image.Image:
    if wanted.channel is None:
        return item.grid(shared=wanted.shared, cmap=wanted.cmap)
    if wanted.channel >= len(item.values):
        raise InputError(
            f"channel {wanted.channel} is out of range for a layer of {len(item.values)} maps"
        )
    return item.draw(wanted.channel, 512, wanted.shared, wanted.cmap)


def _channels(text: str | None, count: int, most: int) -> list[int]:
    """Read `0,5,3`."""
    if text is None or not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text):
        raise InputError("channels must be numbers such as 0,5,3")
    chosen = [int(one) for one in text.split(",")]
    if len(chosen) > most or max(chosen) >= count:
        raise InputError(f"channels must be at most {most} numbers within 0..{count - 1}")
    return chosen


async def _aside(viewer: Viewer, job: Callable[[], bytes]) -> bytes:
    """Do what takes much memory but no model in a few threads at most."""
    return await asyncio.get_running_loop().run_in_executor(viewer.drawing, job)


async def _png(viewer: Viewer, draw: Callable[[], Image.Image], name: str) -> Response:
    data = await _aside(viewer, lambda: as_png(draw()))
    return Response(data, media_type="image/png", headers={**KEPT, **_named(name, "inline")})


def _binary(data: bytes) -> Response:
    return Response(data, media_type="application/octet-stream", headers=KEPT)


def _download(data: bytes, name: str) -> Response:
    return Response(
        data, media_type="application/octet-stream", headers={**KEPT, **_named(name, "attachment")}
    )


def _named(name: str, how: str) -> dict[str, str]:
    """Name a file in letters that every header can hold."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")
    return {"content-disposition": f'{how}; filename="{plain or "result"}"'}
