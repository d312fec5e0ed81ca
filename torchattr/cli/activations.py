"""`torchattr activations`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from torchattr.cli import options
from torchattr.cli.console import reported
from torchattr.cli.loading import Load
from torchattr.cli.run import Destinations, ModelSpec, run_on_images

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
        int | None,
        typer.Option(min=1, help="Number of strongest maps per layer; default all, 64 drawn"),
    ] = None,
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
    """Show the feature maps of layers.

    Without --layer, the maps of every ReLU. Each layer gets a folder with a grid (PNG) and the raw
    maps (NPZ) for each image.
    """
    with reported():
        from torchattr.errors import InputError
        from torchattr.runs import ActivationsJob

        if channel and top:
            raise InputError("--channel and --top are mutually exclusive; pass one of them")

        look = options.look_of(theme, scale)

        def jobs(loaded: LoadedModel) -> list[PictureJob]:
            layers = tuple(layer or ("r",))
            which = tuple(channel or ())
            return [ActivationsJob(loaded, layers, which, top, weights=weights, look=look)]

        where = Destinations(out, overwrite, logdir, html, "Feature maps", formats, dpi, theme)
        which = ModelSpec(model, weights, device, backend, trust)
        raise typer.Exit(run_on_images(images, which, where, jobs))
