"""`torchattr report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from torchattr.cli import options
from torchattr.cli.running import Where, Which, look
from torchattr.cli.talk import reported

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import Entry, Look


def report(
    images: options.Images = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
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
        from torchattr.runs.explaining import Explaining
        from torchattr.runs.looks import Activations, BackProjections, LayerGrids
        from torchattr.runs.plan import Settings
        from torchattr.runs.sample import some_convolutions

        rules = options.rules_of(rule or ())
        key = options.entry_of(output)
        targets = tuple(target or ())
        settings = Settings(tuple(method or ()), targets, (), rules, key)

        def looks(loaded: LoadedModel) -> list[Look]:
            layers = tuple(layer or some_convolutions(loaded))
            strongest = f"top{top}"
            return [
                Explaining(loaded, settings, weights=weights),
                LayerGrids(loaded, (), ("grad_cam",), targets, rules, key, weights=weights),
                Activations(loaded, layers, (), top, weights=weights),
                BackProjections(loaded, layers, strongest, rules=rules, crop=True, weights=weights),
            ]

        where = Where(out, overwrite, logdir, html, title or f"What {model} looks at")
        which = Which(model, weights, device, backend)
        raise typer.Exit(look(images, which, where, looks, "reported", _summary))


def _summary(loaded: LoadedModel) -> list[Entry]:
    from torchattr.inspect import summary
    from torchattr.runs.sample import example_input, summary_entry

    return [summary_entry(loaded, summary(loaded.model, example_input(loaded), depth=2))]
