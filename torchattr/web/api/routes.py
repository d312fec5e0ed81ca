"""The routes that answer questions in JSON; `docs/viewer.md` describes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from torchattr.runs import device_of
from torchattr.web.api.uploads import FORM, read_upload
from torchattr.web.api.visitors import Index, Name, Number, TheSession, TheViewer
from torchattr.web.colours import tables
from torchattr.web.panels.catalog import methods, panels
from torchattr.web.state.sessions import Session
from torchattr.web.state.stored import Shown
from torchattr.web.state.viewer import Viewer

Rule = Literal["deconvolution", "guided", "gradient"]
router = APIRouter(prefix="/api")


class Asked(BaseModel):
    """What all questions hold."""

    model_config = ConfigDict(extra="forbid", strict=True)

    picture: Number
    job: Number | None = None


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


async def _worked(
    request: Request,
    viewer: Viewer,
    session: Session,
    title: str,
    work: Callable[[], dict[str, Any]],
    job: str | None = None,
) -> Any:
    """Run something on the model's worker, and add what it had to say."""
    done = await viewer.worker.run(
        work, request.is_disconnected, owner=session, key=job, title=title
    )
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


@router.post("/pictures", status_code=201, openapi_extra=FORM)
async def open_picture(request: Request, viewer: TheViewer, session: TheSession) -> dict[str, Any]:
    """Take in a picture."""
    name, data = await read_upload(request, viewer.limits.upload_bytes)
    done = await viewer.worker.run(
        lambda: viewer.open(session, data, name),
        request.is_disconnected,
        owner=session,
        title=name,
    )
    key, picture = done.value
    return {**_described(key, picture, key in viewer.examples), "notes": done.notes}


@router.get("/pictures/{key}/scores")
async def scores(
    request: Request,
    viewer: TheViewer,
    session: TheSession,
    key: Number,
    top: Annotated[int | None, Query(ge=1)] = None,
) -> Any:
    """Give the classes, the best first."""
    return await _worked(
        request, viewer, session, "scores", lambda: viewer.scores(session, key, top)
    )


@router.get("/pictures/{key}/layers")
async def layers(request: Request, viewer: TheViewer, session: TheSession, key: Number) -> Any:
    """List the layers with the shapes that they give for this picture."""
    return await _worked(request, viewer, session, "layers", lambda: viewer.layers(session, key))


@router.get("/jobs")
def jobs(viewer: TheViewer, session: TheSession) -> list[dict[str, Any]]:
    """List what this session has asked of the model and waits for."""
    return [job.described() for job in viewer.worker.jobs(session)]


@router.delete("/jobs/{key}")
def cancel(viewer: TheViewer, session: TheSession, key: Number) -> dict[str, Any]:
    """End a job at its next step; whoever waits for it is told so."""
    return viewer.worker.cancel(session, key).described()


@router.post("/attributions")
async def attributions(
    request: Request, viewer: TheViewer, session: TheSession, asked: AskedAttribution
) -> Any:
    """Run a method for a class."""
    return await _worked(
        request,
        viewer,
        session,
        asked.method,
        lambda: viewer.attribute(session, asked.picture, asked.target, asked.method, asked.options),
        asked.job,
    )


@router.post("/panels")
async def panel(request: Request, viewer: TheViewer, session: TheSession, asked: AskedPanel) -> Any:
    """Run a panel."""
    return await _worked(
        request,
        viewer,
        session,
        asked.panel,
        lambda: viewer.panel(session, asked.picture, asked.target, asked.panel, asked.options),
        asked.job,
    )


@router.post("/features")
async def features(
    request: Request, viewer: TheViewer, session: TheSession, asked: AskedFeatures
) -> Any:
    """Record the maps of a layer."""
    return await _worked(
        request,
        viewer,
        session,
        f"maps of {asked.layer}",
        lambda: viewer.features(session, asked.picture, asked.layer, asked.call),
        asked.job,
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
        session,
        f"map {asked.channel} of {asked.layer}",
        lambda: viewer.project(
            session, asked.picture, asked.layer, asked.channel, place, asked.rule, asked.call
        ),
        asked.job,
    )


def _described(key: str, picture: Shown, example: bool) -> dict[str, Any]:
    prepared = picture.prepared
    return {
        "id": key,
        "name": picture.name,
        "size": prepared.original.size,
        "box": [float(edge) for edge in prepared.box],
        "example": example,
    }
