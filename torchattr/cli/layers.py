"""`torchattr layers`: the list of layers, or the map of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from torchattr.cli import options
from torchattr.cli.charts import show_json, show_table
from torchattr.cli.console import out as stdout
from torchattr.cli.console import reported
from torchattr.cli.loading import Load
from torchattr.cli.run import Destinations, ModelSpec, last_layer, run_on_images

if TYPE_CHECKING:
    from torchattr.inspect import LayerRow
    from torchattr.models import LoadedModel
    from torchattr.runs import PictureJob

_Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGE]...",
        help="Images: files, folders or patterns; default: list the layers",
        show_default=False,
    ),
]
_Methods = Annotated[
    list[str] | None,
    typer.Option(help="grad_cam or guided_grad_cam; repeatable; default both"),
]
_Layers = Annotated[
    list[str] | None,
    typer.Option(help="Layer by name or pattern; repeatable; default every convolution"),
]


def layers(
    images: _Images = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Number of levels to list; default all")
    ] = None,
    method: _Methods = None,
    target: options.Targets = None,
    layer: _Layers = None,
    rule: options.Rules = None,
    output: options.Output = None,
    scores: options.Scores = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    out: options.Out = options.OUT,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    html: options.Html = None,
    formats: options.Formats = None,
    scale: options.Scale = 1.0,
    dpi: options.Dpi = None,
    theme: options.Theme = None,
    json: options.Json = False,
    load: Load = None,
) -> None:
    """List a model's layers or, with images, show the class evidence at each layer.

    The list shows the names that --layer takes, and output shapes. With images, Grad-CAM and
    Guided Grad-CAM of every convolution are drawn as a grid, for the top class or each --target.
    """
    with reported():
        which = ModelSpec(model, weights, device, backend, trust, options.meaning_of(scores))
        if not images:
            show_layers(which, depth, json)
            return
        from torchattr.runs import LayerGridsJob

        _check_lists(json, images)

        methods = methods_of(method)
        rules = options.rules_of(rule or ())
        look = options.look_of(theme, scale)

        def jobs(loaded: LoadedModel) -> list[PictureJob]:
            return [
                LayerGridsJob(
                    loaded,
                    tuple(layer or ()),
                    methods,
                    tuple(target or ()),
                    rules,
                    options.entry_of(output),
                    weights=weights,
                    look=look,
                )
            ]

        where = Destinations(out, overwrite, logdir, html, "Layer by layer", formats, dpi, theme)
        raise typer.Exit(run_on_images(images, which, where, jobs))


def _check_lists(as_json: bool, images: Sequence[str]) -> None:
    """Check that JSON is asked of the list; raises `InputError` if it is of grids of images."""
    from torchattr.errors import InputError

    if as_json:
        raise InputError(
            f"--json is for the list of layers, but images are named: {', '.join(images)};"
            " leave out one of them"
        )


def methods_of(names: Sequence[str] | None) -> tuple[Any, ...]:
    """Check the methods of a layer grid; empty means both.

    Raises:
        InputError: any other method.
    """
    from typing import get_args

    from torchattr.errors import InputError
    from torchattr.inspect import Method

    known = get_args(Method)
    for name in names or ():
        if name not in known:
            raise InputError(f"--method must be {' or '.join(known)} here, got {name!r}")
    return tuple(dict.fromkeys(names or known))


def show_layers(which: ModelSpec, depth: int | None, as_json: bool) -> None:
    """Print the layers as a table, or as JSON."""
    from torchattr.inspect import list_layers as layers_of
    from torchattr.runs import example_input, failing_is_a_sentence, made_by

    loaded = which.load()
    inputs = example_input(loaded)
    with failing_is_a_sentence(loaded, lambda: inputs):
        listed = layers_of(loaded.model, inputs)
    default = last_layer(loaded)
    shown = [row for row in listed if depth is None or row.depth < depth]
    if as_json:
        described = [{**asdict(row), "default": row.name == default} for row in shown]
        show_json({**made_by(loaded), "input": list(inputs.shape), "layers": described})
        return
    rows = [_layer_cells(row, default) for row in shown]
    stdout.print(f"{loaded.name}, for an input of {_shape(tuple(inputs.shape))}")
    show_table(["layer", "type", "output", "description"], rows, wide="description")


def _layer_cells(row: LayerRow, default: str | None) -> tuple[Any, ...]:
    chosen = row.name == default
    name = Text("  " * row.depth + row.name, "bold cyan" if chosen else "")
    calls = f"called {row.calls} times" if row.calls > 1 else ""
    said = ("default for --layer" if chosen else "", calls, row.description)
    shape = "" if row.shape is None else _shape(row.shape)
    return name, row.type, shape, "; ".join(part for part in said if part)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
