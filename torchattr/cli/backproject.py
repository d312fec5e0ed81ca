"""`torchattr backproject`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchattr.cli import options
from torchattr.cli.console import reported
from torchattr.cli.loading import Load
from torchattr.cli.run import Destinations, ModelSpec, layers_or_last, run_on_images

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import PictureJob

_Start = Annotated[
    str,
    typer.Option(
        help="Start from max (the largest value of a map), map (all values), or ROW,COLUMN"
    ),
]
_Rules = Annotated[
    list[str] | None,
    typer.Option(
        help="deconvolution, guided or gradient, or a further rule (gelu=guided); repeatable"
    ),
]
_Crop = Annotated[
    bool,
    typer.Option(
        "--crop/--whole",
        help="Show the receptive fields beside those of the image, or the whole image",
    ),
]


def backproject(
    images: options.Images = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    layer: options.OperationLayers = None,
    channel: options.Channels = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Number of strongest maps per layer; default 9")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All maps of each layer")] = False,
    start: _Start = "max",
    rule: _Rules = None,
    crop: _Crop = True,
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
    load: Load = None,
) -> None:
    """Project feature maps back to the input: what makes each map respond?

    Without --layer, the maps of the last layer with spatial dimensions. Each layer gets a folder
    with a grid (PNG) and the raw back-projections (NPZ) for each image.
    """
    with reported():
        from torchattr.runs import BackProjectionsJob

        channels = _channels(channel, top, every)
        kind, further = _kind_and_rules(rule or ())
        begin: Any = options.start_of(start)
        look = options.look_of(theme, scale)

        def jobs(loaded: LoadedModel) -> list[PictureJob]:
            layers = layers_or_last(loaded, layer)
            return [
                BackProjectionsJob(
                    loaded,
                    layers,
                    channels,
                    begin,
                    kind,
                    further,
                    crop,
                    weights=weights,
                    look=look,
                )
            ]

        where = Destinations(out, overwrite, logdir, html, "Back-projections", formats, dpi, theme)
        which = ModelSpec(model, weights, device, backend, trust)
        raise typer.Exit(run_on_images(images, which, where, jobs))


def _channels(channel: Sequence[int] | None, top: int | None, every: bool) -> Any:
    from torchattr.errors import InputError

    if bool(channel) + (top is not None) + every > 1:
        raise InputError("--channel, --top and --all are mutually exclusive; pass one of them")
    if every:
        return None
    return tuple(channel) if channel else f"top{top or 9}"


def _kind_and_rules(texts: Sequence[str]) -> tuple[Any, dict[str, str]]:
    from torchattr.errors import InputError
    from torchattr.inspect import RULES

    kinds = [text for text in texts if "=" not in text]
    for kind in kinds:
        if kind not in RULES:
            raise InputError(
                f"--rule must be one of {', '.join(RULES)}, or OPERATION=RULE, got {kind!r}"
            )
    if len(kinds) > 1:
        raise InputError(f"--rule names several back-projections, {' and '.join(kinds)}; pass one")
    further = options.rules_of([text for text in texts if "=" in text])
    return (kinds or ["deconvolution"])[0], further
