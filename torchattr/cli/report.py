"""`torchattr report`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from torchattr.cli import options
from torchattr.cli.console import note, reported
from torchattr.cli.loading import Load
from torchattr.cli.options import in_command
from torchattr.cli.run import Destinations, ModelSpec, run_on_images

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import ExplainSettings, PictureJob
    from torchattr.show import Look, View


class _Drawn(TypedDict):
    """What every job of the report is given: where the weights came from, and how to draw."""

    weights: str | None
    look: Look


def report(
    images: options.Images = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    method: options.Methods = None,
    target: options.Targets = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            help="Layer whose maps and back-projections are shown, as for activations;"
            " repeatable; default three convolutions of different resolution",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of strongest maps per layer")] = 9,
    rule: options.Rules = None,
    composite: options.Composite = None,
    option: options.MethodOptions = None,
    output: options.Output = None,
    scores: options.Scores = None,
    title: Annotated[str, typer.Option(help="Page title")] = "",
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    html: Annotated[
        str, typer.Option(help="HTML file to write", metavar="FILE")
    ] = "torchattr-report.html",
    out: options.OutIfAny = None,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    formats: options.Formats = None,
    scale: options.Scale = 1.0,
    dpi: options.Dpi = None,
    theme: options.Theme = None,
    view: options.View = "crop",
    cmap: options.Colors = None,
    load: Load = None,
) -> None:
    """Write a self-contained HTML report.

    For each image the scores, the methods side by side with their coverage, Grad-CAM layer by
    layer, and the strongest feature maps of some layers with their back-projections; then a summary
    of the model.
    """
    with reported():
        which = ModelSpec(model, weights, device, backend, trust, options.meaning_of(scores))
        from torchattr.runs import ExplainSettings

        settings = ExplainSettings(
            tuple(method or ()),
            tuple(target or ()),
            tuple(layer or ()),
            options.rules_of(rule or ()),
            options.entry_of(output),
            composite=composite,
            options=tuple(option or ()),
        )
        panel = options.panel_of(view, cmap)
        drawn: _Drawn = {"weights": weights, "look": options.look_of(theme, scale)}
        heading = title or f"torchattr report: {model}"
        where = Destinations(out, overwrite, logdir, html, heading, formats, dpi, theme)
        jobs = partial(_jobs, settings=settings, panel=panel, top=top, drawn=drawn)
        raise typer.Exit(run_on_images(images, which, where, jobs))


def _jobs(
    loaded: LoadedModel,
    settings: ExplainSettings,
    panel: tuple[View, str | None],
    top: int,
    drawn: _Drawn,
) -> list[PictureJob]:
    from torchattr.core.select import layer_names
    from torchattr.runs import (
        ActivationsJob,
        BackProjectionsJob,
        ExplainJob,
        LayerGridsJob,
        SummaryJob,
        is_function,
    )

    rules, output = settings.rules, settings.output
    # Layer by layer, only classes are shown.
    targets = tuple(one for one in settings.targets if not is_function(one, loaded.class_names))
    # Class activation maps take the last spatial layer; those named are for the feature maps.
    jobs: list[PictureJob] = [ExplainJob(loaded, replace(settings, layers=()), *panel, **drawn)]
    if modules := tuple(
        name for name in _some_layers(loaded, 6) if name in layer_names(loaded.model)
    ):
        grids = LayerGridsJob(loaded, modules, ("grad_cam",), targets, {}, output, **drawn)
        jobs.append(grids)
    if layers := settings.layers or tuple(_some_layers(loaded, 3)):
        back = BackProjectionsJob(
            *(loaded, layers, f"top{top}"), rules=rules, crop=True, skip_refused=True, **drawn
        )
        jobs += [ActivationsJob(loaded, layers, (), top, **drawn), back]
    return [*jobs, SummaryJob(loaded, depth=2, **drawn)]


def _some_layers(loaded: LoadedModel, most: int) -> list[str]:
    from torchattr.errors import LayerError
    from torchattr.runs import some_convolutions

    try:
        return some_convolutions(loaded, most)
    except LayerError as reason:
        note(reason.message.after("feature maps are skipped: ").said(in_command))
        return []
