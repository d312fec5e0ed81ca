"""Routes that answer in JSON; `docs/viewer.md` describes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from torchattr.runs import device_of
from torchattr.web.api.dependencies import Index, ItemId, Name, SessionDep, ViewerDep
from torchattr.web.api.uploads import UPLOAD_SCHEMA, read_upload
from torchattr.web.map_style import color_tables
from torchattr.web.state.sessions import Session
from torchattr.web.state.stored import StoredPicture
from torchattr.web.viewer import Viewer
from torchattr.web.views.catalog import methods, panels
from torchattr.web.views.families import by_family

Rule = Literal["deconvolution", "guided", "gradient"]
router = APIRouter(prefix="/api")


class JobRequest(BaseModel):
    """Fields of every request that runs the model."""

    model_config = ConfigDict(extra="forbid", strict=True)

    picture: ItemId
    job: ItemId | None = None
    model: Name | None = None


Region = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=4)]


class AttributionRequest(JobRequest):
    method: Name
    target: Index | None = None
    region: Region | None = None
    options: dict[str, Any] = {}


class PanelRequest(JobRequest):
    panel: Name
    target: Index | None = None
    region: Region | None = None
    options: dict[str, Any] = {}


class FeatureMapsRequest(JobRequest):
    layer: Name
    call: Index = 1


class ProjectionRequest(JobRequest):
    layer: Name
    channel: Index
    position: Annotated[list[Index], Field(min_length=2, max_length=2)] | None = None
    rule: Rule = "deconvolution"
    call: Index = 1


async def _run_job(
    request: Request,
    viewer: Viewer,
    session: Session,
    title: str,
    work: Callable[[], dict[str, Any]],
    job: str | None = None,
) -> Any:
    """Run a job on the model's worker, and add its notes and duration to the answer."""
    result = await viewer.worker.run(
        work, request.is_disconnected, owner=session, key=job, title=title
    )
    return {**result.value, "notes": result.notes, "seconds": round(result.seconds, 4)}


@router.get("/model")
def model(viewer: ViewerDep, session: SessionDep) -> dict[str, Any]:
    """Describe the model, and list all models, methods by family, panels and colormaps."""
    loaded, limits = viewer.loaded, viewer.limits
    return {
        "name": loaded.name,
        "device": str(device_of(loaded)),
        "models": list(viewer.models),
        "families": by_family(entry.name for entry in methods()),
        "methods": [entry.as_json() for entry in methods()],
        "panels": [entry.as_json() for entry in panels()],
        "colours": color_tables(),
        "limits": {"upload_bytes": limits.upload_bytes, "pixels": limits.pixels},
    }


@router.get("/pictures")
def pictures(viewer: ViewerDep, session: SessionDep) -> list[dict[str, Any]]:
    """List the pictures of this session, the samples first."""
    return [_picture_json(viewer, key, item) for key, item in viewer.pictures(session).items()]


@router.post("/pictures", status_code=201, openapi_extra=UPLOAD_SCHEMA)
async def open_picture(request: Request, viewer: ViewerDep, session: SessionDep) -> dict[str, Any]:
    """Upload a picture."""
    name, data = await read_upload(request, viewer.limits.upload_bytes)
    result = await viewer.worker.run(
        lambda: viewer.open(session, data, name),
        request.is_disconnected,
        owner=session,
        title=name,
    )
    return {**_picture_json(viewer, *result.value), "notes": result.notes}


@router.get("/pictures/{key}/scores")
async def scores(
    request: Request,
    viewer: ViewerDep,
    session: SessionDep,
    key: ItemId,
    top: Annotated[int | None, Query(ge=1)] = None,
    model: Name | None = None,
) -> Any:
    """Return the class scores, highest first."""
    return await _run_job(
        request, viewer, session, "scores", lambda: viewer.scores(session, key, top, model)
    )


@router.get("/pictures/{key}/layers")
async def layers(
    request: Request,
    viewer: ViewerDep,
    session: SessionDep,
    key: ItemId,
    model: Name | None = None,
) -> Any:
    """List the layers with their output shapes for this picture."""
    return await _run_job(
        request, viewer, session, "layers", lambda: viewer.layers(session, key, model)
    )


@router.get("/jobs")
def jobs(viewer: ViewerDep, session: SessionDep) -> list[dict[str, Any]]:
    """List the queued and running jobs of this session."""
    return [job.as_json() for job in viewer.worker.jobs(session)]


@router.delete("/jobs/{key}")
def cancel(viewer: ViewerDep, session: SessionDep, key: ItemId) -> dict[str, Any]:
    """Cancel a job at its next step; its request is answered with an error."""
    return viewer.worker.cancel(session, key).as_json()


@router.post("/attributions")
async def attributions(
    request: Request, viewer: ViewerDep, session: SessionDep, body: AttributionRequest
) -> Any:
    """Run a method for a class."""
    return await _run_job(
        request,
        viewer,
        session,
        body.method,
        lambda: viewer.attribute(
            session,
            body.picture,
            body.target,
            body.method,
            body.options,
            body.region,
            body.model,
        ),
        body.job,
    )


@router.post("/panels")
async def panel(
    request: Request, viewer: ViewerDep, session: SessionDep, body: PanelRequest
) -> Any:
    """Run a panel."""
    return await _run_job(
        request,
        viewer,
        session,
        body.panel,
        lambda: viewer.panel(
            session,
            body.picture,
            body.target,
            body.panel,
            body.options,
            body.region,
            body.model,
        ),
        body.job,
    )


@router.post("/features")
async def features(
    request: Request, viewer: ViewerDep, session: SessionDep, body: FeatureMapsRequest
) -> Any:
    """Record the feature maps of a layer."""
    return await _run_job(
        request,
        viewer,
        session,
        f"maps of {body.layer}",
        lambda: viewer.features(session, body.picture, body.layer, body.call, body.model),
        body.job,
    )


@router.post("/projections")
async def projections(
    request: Request, viewer: ViewerDep, session: SessionDep, body: ProjectionRequest
) -> Any:
    """Project a feature map back to the picture, from one position and as a whole."""
    position = None if body.position is None else (body.position[0], body.position[1])
    return await _run_job(
        request,
        viewer,
        session,
        f"map {body.channel} of {body.layer}",
        lambda: viewer.project(
            session,
            body.picture,
            body.layer,
            body.channel,
            position,
            body.rule,
            body.call,
            body.model,
        ),
        body.job,
    )


def _picture_json(viewer: Viewer, key: str, picture: StoredPicture) -> dict[str, Any]:
    prepared = picture.prepared
    return {
        "id": key,
        "name": picture.name,
        "size": prepared.original.size,
        "box": [float(edge) for edge in prepared.box],
        "example": key in viewer.examples,
    }
