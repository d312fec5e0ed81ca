"""`torchattr activations`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from torchattr.cli import options
from torchattr.cli.console import reported
from torchattr.cli.run import Destinations, ModelSpec, look

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import PictureJob


def activations(
    images: options.Images = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    layer: options.OperationLayers = None,
    channel: options.Channels = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Only so many of each layer's strongest maps")
    ] = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    out: options.Out = options.OUT,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    html: options.Html = None,
) -> None:
    """Show the feature maps of layers: what each channel holds of a picture.

    Without --layer, those of every ReLU. Each layer gets a folder, in it a grid (PNG) and the raw
    maps (NPZ) of each picture.
    """
    with reported():
        from torchattr.errors import InputError
        from torchattr.runs import Activations

        if channel and top:
            raise InputError("either --channel or --top chooses the maps; give one of them")

        def looks(loaded: LoadedModel) -> list[PictureJob]:
            layers = tuple(layer or ("r",))
            return [Activations(loaded, layers, tuple(channel or ()), top, weights=weights)]

        where = Destinations(out, overwrite, logdir, html, "Feature maps")
        which = ModelSpec(model, weights, device, backend, trust)
        raise typer.Exit(look(images, which, where, looks))
