"""The JSON API of the viewer; `docs/viewer.md` describes it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from torchattr.errors import InputError
from torchattr.runs.pictures import device_of
from torchattr.web.catalog import methods, panels
from torchattr.web.colours import tables
from torchattr.web.items import Drawn, Features, Mapped, Shown, Vector, as_npz, as_png, fitted
from torchattr.web.looks import Look
from torchattr.web.pictures import plain_name
from torchattr.web.sessions import Session, TooLarge
from torchattr.web.viewer import Viewer

Rule = Literal["deconvolution", "guided", "gradient"]
Number = Annotated[str, Field(max_length=64)]
Name = Annotated[str, Field(max_length=400)]
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]

SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""A figure may style itself, and nothing else."""

KEPT = {"cache-control": "private, max-age=3600"}

router = APIRouter(prefix="/api")


def viewer_of(request: Request) -> Viewer:
    """Give the viewer that a request is for; for routes of one's own, too."""
    viewer: Viewer = request.app.state.viewer
    return viewer


TheViewer = Annotated[Viewer, Depends(viewer_of)]


async def session_of(request: Request, response: Response, viewer: TheViewer) -> Session:
    """Give the session of whoever asks; a new one gets a cookie."""
    name = f"torchattr_session_{viewer.instance}"
    known = request.cookies.get(name)
    key, session = viewer.sessions.open(known)
    if key != known:
        secure = request.url.scheme == "https"
        response.set_cookie(name, key, httponly=True, samesite="strict", secure=secure)
    return session


TheSession = Annotated[Session, Depends(session_of)]


class Asked(BaseModel):
    """What all questions hold."""

    model_config = ConfigDict(extra="forbid", strict=True)

    picture: Number


class AskedAttribution(Asked):
    method: Name
    target: Index | None = None
    options: dict[str, Any] = {}


class AskedPanel(Asked):
    panel: Name
    target: Index | None = None
    options: dict[str, Any] = {}


class AskedFeatures(Asked):
    layer: Name
    call: Index = 1


class AskedProjection(Asked):
    layer: Name
    channel: Index
    place: Annotated[list[Index], Field(min_length=2, max_length=2)] | None = None
    rule: Rule = "deconvolution"
    call: Index = 1


async def _worked(request: Request, viewer: Viewer, job: Callable[[], dict[str, Any]]) -> Any:
    """Run a job on the model's worker, and add what it had to say."""
    done = await viewer.worker.run(job, request.is_disconnected)
    return {**done.value, "notes": done.notes, "seconds": round(done.seconds, 4)}


@router.get("/model")
def model(viewer: TheViewer, session: TheSession) -> dict[str, Any]:
    """Say what the model is, and what there is to choose from."""
    loaded, limits = viewer.loaded, viewer.limits
    return {
        "name": loaded.name,
        "device": str(device_of(loaded)),
        "methods": [entry.described() for entry in methods()],
        "panels": [entry.described() for entry in panels()],
        "colours": tables(),
        "limits": {"upload_bytes": limits.upload_bytes, "pixels": limits.pixels},
    }


@router.get("/pictures")
def pictures(viewer: TheViewer, session: TheSession) -> list[dict[str, Any]]:
    """List the pictures of this session, those that come along first."""
    found = viewer.pictures(session)
    return [_described(key, one, key in viewer.examples) for key, one in found.items()]


@router.post("/pictures", status_code=201)
async def open_picture(
    request: Request, viewer: TheViewer, session: TheSession, file: UploadFile
) -> dict[str, Any]:
    """Take in a picture."""
    data = await file.read(viewer.limits.upload_bytes + 1)
    name = plain_name(file.filename)
    if len(data) > viewer.limits.upload_bytes:
        raise TooLarge(
            f"{name}: has more than the {viewer.limits.upload_bytes:,} bytes that are taken"
        )
    done = await viewer.worker.run(
        lambda: viewer.open(session, data, name), request.is_disconnected
    )
    key, picture = done.value
    return {**_described(key, picture, key in viewer.examples), "notes": done.notes}


@router.get("/pictures/{key}.png")
async def picture_png(
    viewer: TheViewer, session: TheSession, key: Number, side: Annotated[int, Query(ge=16)] = 4096
) -> Response:
    """Give a picture, whose longer side has at most `side` pixels."""
    image = viewer.picture(session, key).prepared.original
    side = min(side, viewer.limits.side)
    return await _png(viewer, lambda: fitted(image, side), f"{key}.png")


@router.get("/pictures/{key}/scores")
async def scores(
    request: Request,
    viewer: TheViewer,
    session: TheSession,
    key: Number,
    top: Annotated[int | None, Query(ge=1)] = None,
) -> Any:
    """Give the classes, the best first."""
    return await _worked(request, viewer, lambda: viewer.scores(session, key, top))


@router.get("/pictures/{key}/layers")
async def layers(request: Request, viewer: TheViewer, session: TheSession, key: Number) -> Any:
    """List the layers with the shapes that they give for this picture."""
    return await _worked(request, viewer, lambda: viewer.layers(session, key))


@router.post("/attributions")
async def attributions(
    request: Request, viewer: TheViewer, session: TheSession, asked: AskedAttribution
) -> Any:
    """Run a method for a class."""
    return await _worked(
        request,
        viewer,
        lambda: viewer.attribute(session, asked.picture, asked.target, asked.method, asked.options),
    )


@router.post("/panels")
async def panel(request: Request, viewer: TheViewer, session: TheSession, asked: AskedPanel) -> Any:
    """Run a panel."""
    return await _worked(
        request,
        viewer,
        lambda: viewer.panel(session, asked.picture, asked.target, asked.panel, asked.options),
    )


@router.post("/features")
async def features(
    request: Request, viewer: TheViewer, session: TheSession, asked: AskedFeatures
) -> Any:
    """Record the maps of a layer."""
    return await _worked(
        request, viewer, lambda: viewer.features(session, asked.picture, asked.layer, asked.call)
    )


@router.post("/projections")
async def projections(
    request: Request, viewer: TheViewer, session: TheSession, asked: AskedProjection
) -> Any:
    """Send a map back to the picture, from one place and as a whole."""
    place = None if asked.place is None else (asked.place[0], asked.place[1])
    return await _worked(
        request,
        viewer,
        lambda: viewer.project(
            session, asked.picture, asked.layer, asked.channel, place, asked.rule, asked.call
        ),
    )


@router.get("/results/{key}.f32")
def raw(
    viewer: TheViewer, session: TheSession, key: Number, channels: str | None = None
) -> Response:
    """Give the values of a map, or of some feature maps, as little-endian float32."""
    item = session.any(key)
    if isinstance(item, Features):
        chosen = _channels(channels, len(item.values), viewer.limits.maps)
        return _binary(item.values[chosen].astype("<f4").tobytes())
    return _binary(session.get(key, Mapped).values.astype("<f4").tobytes())


@router.get("/results/{key}.npz")
async def npz(viewer: TheViewer, session: TheSession, key: Number) -> Response:
    """Give the raw values to download."""
    item = viewer.examples.get(key) or session.any(key)
    arrays = item.arrays()
    if not arrays:
        raise InputError(f"{item.name} has no values to download")
    return _download(await _aside(viewer, lambda: as_npz(arrays)), f"{item.name}.npz")


class Wanted(BaseModel):
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
    viewer: TheViewer, session: TheSession, key: Number, wanted: Annotated[Wanted, Query()]
) -> Response:
    """Draw a result in full size."""
    item = session.any(key)
    name = f"{item.name}.png"
    if isinstance(item, Mapped):
        changed = wanted.model_dump(exclude_none=True, exclude={"channel", "shared"})
        look = Look(**{**item.look.described(), **changed})
        look.style()
        return await _png(viewer, lambda: item.draw(look, viewer.limits.side), name)
    if isinstance(item, Features):
        return await _png(viewer, lambda: _drawn_features(item, wanted), name)
    picture = session.get(key, Drawn)
    return await _png(viewer, lambda: picture.image, name)


@router.get("/results/{key}.svg")
def svg(session: TheSession, key: Number) -> Response:
    """Give a figure."""
    headers = {**KEPT, "content-security-policy": SVG_POLICY}
    return Response(session.get(key, Vector).svg, media_type="image/svg+xml", headers=headers)


def _drawn_features(item: Features, wanted: Wanted) -> Any:
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


def _described(key: str, picture: Shown, example: bool) -> dict[str, Any]:
    prepared = picture.prepared
    return {
        "id": key,
        "name": picture.name,
        "size": prepared.original.size,
        "box": [float(edge) for edge in prepared.box],
        "example": example,
    }


async def _aside(viewer: Viewer, job: Callable[[], bytes]) -> bytes:
    """Do what takes much memory but no model in a few threads at most."""
    return await asyncio.get_running_loop().run_in_executor(viewer.drawing, job)


async def _png(viewer: Viewer, draw: Callable[[], Any], name: str) -> Response:
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
