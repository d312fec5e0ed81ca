"""`torchattr dream`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchattr.cli import options
from torchattr.cli.charts import progress_bar
from torchattr.cli.console import out as stdout
from torchattr.cli.console import reported
from torchattr.cli.run import Destinations, ModelSpec, layers_or_last, look
from torchattr.core.printable import printable

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import PictureJob


def dream(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE]...",
            help="Pictures to dream of: files, folders or patterns; none to begin with noise",
            show_default=False,
        ),
    ] = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    target: Annotated[
        str | None, typer.Option(help="A class by index or name, to make an image from noise for")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="A layer by name, to see more of what it sees")
    ] = None,
    channel: Annotated[int | None, typer.Option(help="One channel of the layer")] = None,
    size: Annotated[
        str | None, typer.Option(help="Of an image from noise: 224, or 224x320")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in each octave")] = None,
    rate: Annotated[float | None, typer.Option(help="How far the first step goes")] = None,
    octaves: Annotated[
        int | None, typer.Option(min=1, help="Sizes to work at, from small to large")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="The ratio of one size to the next")] = None,
    tv: Annotated[float | None, typer.Option(help="Weight of the total variation")] = None,
    seed: Annotated[int, typer.Option(help="What noise and jitter are drawn from")] = 0,
    output: options.Output = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    out: options.Out = options.OUT,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    html: options.Html = None,
) -> None:
    """Make images that excite a class, a layer or a channel.

    With pictures, a layer (the last one with places, if none is named) is shown more of what it
    sees in them. Without, an image is made from noise, for a --target or a --layer.
    """
    with reported():
        named = {"steps": steps, "rate": rate, "octaves": octaves, "octave_scale": scale, "tv": tv}
        settings = {key: value for key, value in named.items() if value is not None}
        _check(images, target, layer, channel, size)
        which = ModelSpec(model, weights, device, backend, trust)
        where = Destinations(out, overwrite, logdir, html, "Dreams")
        if not images:
            noise = {"size": options.size_of(size), "output": options.entry_of(output)}
            wanted = {"target": target, "layer": layer, "channel": channel, **noise}
            _from_noise(which, where, wanted, {**settings, "seed": seed})
            return
        from torchattr.runs import Dreams

        def looks(loaded: LoadedModel) -> list[PictureJob]:
            (name,) = layers_or_last(loaded, [layer] if layer else None)
            return [Dreams(loaded, name, channel, {**settings, "seed": seed}, weights=weights)]

        raise typer.Exit(look(images, which, where, looks, done="dreamt of"))


def _check(
    images: Any, target: str | None, layer: str | None, channel: int | None, size: str | None
) -> None:
    from torchattr.errors import InputError

    if target is not None and layer is not None:
        raise InputError("an image is made for a --target or a --layer; give one of them")
    if channel is not None and layer is None:
        raise InputError("--channel is one of a layer's; name the layer with --layer")
    if images and (target is not None or size is not None):
        option = "--size" if target is None else "--target"
        raise InputError(f"{option} is for images from noise; leave it out, or the pictures")
    if not images and target is None and layer is None:
        raise InputError(
            "say what an image is to be made for, with --target or --layer, or give pictures"
        )


def _from_noise(
    which: ModelSpec, where: Destinations, wanted: dict[str, Any], settings: dict[str, Any]
) -> None:
    from torchattr.kernels import backend
    from torchattr.runs import FromNoise, class_index

    sink = where.sink()
    loaded = which.load()
    target = wanted.pop("target")
    index = None if target is None else class_index(loaded, target)
    noise = FromNoise(loaded, index, **wanted, options=settings)
    with backend(which.backend), sink:
        sink.claim([noise.path])
        with progress_bar(1, "dreaming") as bar:
            entry = noise.entry(bar.update)
        for file in sink.add(entry):
            stdout.print(f"  {printable(str(file))}", style="dim", soft_wrap=True)
    where.say("1 image")
