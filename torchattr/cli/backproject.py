"""`torchattr backproject`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchattr.cli import options
from torchattr.cli.console import reported
from torchattr.cli.run import Destinations, ModelSpec, layers_or_last, look

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import PictureJob


def backproject(
    images: options.Images = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    layer: options.OperationLayers = None,
    channel: options.Channels = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="So many of each layer's strongest maps; default 9")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All maps of each layer")] = False,
    start: Annotated[
        str, typer.Option(help="max (a map's strongest place), map (all of it), or ROW,COLUMN")
    ] = "max",
    rule: Annotated[
        list[str] | None,
        typer.Option(
            help="deconvolution, guided or gradient; besides, further rules such as gelu=guided"
        ),
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop", help="Draw only the part that a map's signal reached")
    ] = False,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    out: options.Out = options.OUT,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    html: options.Html = None,
) -> None:
    """Send feature maps back to the picture: what in it makes each map respond?

    Without --layer, those of the last layer with places. Each layer gets a folder, in it a grid
    (PNG) and the raw pictures (NPZ) of each picture.
    """
    with reported():
        from torchattr.runs import BackProjections

        channels = _channels(channel, top, every)
        kind, further = _kind_and_rules(rule or ())
        begin: Any = options.place_of(start)

        def looks(loaded: LoadedModel) -> list[PictureJob]:
            layers = layers_or_last(loaded, layer)
            return [
                BackProjections(
                    loaded, layers, channels, begin, kind, further, crop, weights=weights
                )
            ]

        where = Destinations(out, overwrite, logdir, html, "Back-projections")
        which = ModelSpec(model, weights, device, backend, trust)
        raise typer.Exit(look(images, which, where, looks))


def _channels(channel: Sequence[int] | None, top: int | None, every: bool) -> Any:
    from torchattr.errors import InputError

    if bool(channel) + (top is not None) + every > 1:
        raise InputError("one of --channel, --top and --all chooses the maps; give only one")
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
        raise InputError(f"--rule names several ways back, {' and '.join(kinds)}; give one")
    further = options.rules_of([text for text in texts if "=" in text])
    return (kinds or ["deconvolution"])[0], further
