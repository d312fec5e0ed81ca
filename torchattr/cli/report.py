"""`torchattr report`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from torchattr.cli import options
from torchattr.cli.console import note, reported
from torchattr.cli.options import in_command
from torchattr.cli.run import Destinations, ModelSpec, look

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import PictureJob


def report(
    images: options.Images = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    method: Annotated[
        list[str] | None, typer.Option(help="A method of the panel; repeatable")
    ] = None,
    target: options.Targets = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            help="A layer whose maps and back-projections are shown, as for activations;"
            " repeatable; default three convolutions",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="So many of each layer's strongest maps")] = 9,
    rule: options.Rules = None,
    output: options.Output = None,
    scores: options.Scores = None,
    title: Annotated[str, typer.Option(help="What stands above the page")] = "",
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    html: Annotated[str, typer.Option(help="The page", metavar="FILE")] = "torchattr-report.html",
    out: options.OutIfAny = None,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
) -> None:
    """Write one page with all there is to see of pictures; it opens offline.

    A summary of the model; for each picture the scores, the methods side by side with what their
    rules rewrote, Grad-CAM layer by layer, and the strongest feature maps of some layers with what
    excites them.
    """
    with reported():
        which = ModelSpec(model, weights, device, backend, trust, options.meaning_of(scores))
        from torchattr.runs import (
            Activations,
            BackProjections,
            Explaining,
            LayerGrids,
            Settings,
            Summarising,
            has_convolutions,
        )

        rules = options.rules_of(rule or ())
        key = options.entry_of(output)
        targets = tuple(target or ())
        settings = Settings(tuple(method or ()), targets, (), rules, key)

        def looks(loaded: LoadedModel) -> list[PictureJob]:
            given: list[PictureJob] = [
                Summarising(loaded, depth=2, weights=weights),
                Explaining(loaded, settings, weights=weights),
            ]
            if has_convolutions(loaded):
                grids = LayerGrids(loaded, (), ("grad_cam",), targets, {}, key, weights=weights)
                given.append(grids)
            layers = tuple(layer or _some_layers(loaded))
            if layers:
                back = BackProjections(loaded, layers, f"top{top}", rules=rules, crop=True)
                given.append(Activations(loaded, layers, (), top, weights=weights))
                given.append(replace(back, skip_refused=True, weights=weights))
            return given

        where = Destinations(out, overwrite, logdir, html, title or f"What {model} looks at")
        raise typer.Exit(look(images, which, where, looks, "reported"))


def _some_layers(loaded: LoadedModel) -> list[str]:
    from torchattr.errors import LayerError
    from torchattr.runs import some_convolutions

    try:
        return some_convolutions(loaded)
    except LayerError as reason:
        note(reason.message.after("feature maps are left out: ").said(in_command))
        return []
