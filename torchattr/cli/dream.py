"""`torchattr dream`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchattr.cli import options
from torchattr.cli.charts import progress_bar
from torchattr.cli.console import out as stdout
from torchattr.cli.console import reported
from torchattr.cli.loading import Load
from torchattr.cli.run import Destinations, ModelSpec, layers_or_last, run_on_images
from torchattr.core.printable import printable

if TYPE_CHECKING:
    from torchattr.models import LoadedModel
    from torchattr.runs import PictureJob

_Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGE]...",
        help="Images to start from: files, folders or patterns; default: noise",
        show_default=False,
    ),
]
_Target = Annotated[
    str | None, typer.Option(help="Class index or name to maximise, starting from noise")
]
_Size = Annotated[
    str | None, typer.Option(help="Size of an image from noise: 224, or HEIGHTxWIDTH")
]
_OctaveScale = Annotated[float | None, typer.Option(help="Size ratio between octaves")]


def dream(
    images: _Images = None,
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    target: _Target = None,
    layer: Annotated[str | None, typer.Option(help="Name of the layer to excite")] = None,
    channel: Annotated[
        int | None, typer.Option(help="Channel of the layer to excite; default all")
    ] = None,
    size: _Size = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Number of steps per octave")] = None,
    rate: Annotated[float | None, typer.Option(help="Initial step size")] = None,
    octaves: Annotated[int | None, typer.Option(min=1, help="Number of octaves")] = None,
    octave_scale: _OctaveScale = None,
    tv: Annotated[float | None, typer.Option(help="Weight of the total-variation penalty")] = None,
    seed: Annotated[int, typer.Option(help="Random seed")] = 0,
    output: options.Output = None,
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
    """Synthesise images that maximise a class, a layer or a channel.

    With images, amplify what a layer detects in them (DeepDream); the default layer is the last
    with spatial dimensions. Without, start from noise, for a --target or a --layer.
    """
    with reported():
        named = {
            "steps": steps,
            "rate": rate,
            "octaves": octaves,
            "octave_scale": octave_scale,
            "tv": tv,
        }
        settings = {key: value for key, value in named.items() if value is not None}
        look = options.look_of(theme, scale)
        _check(images, target, layer, channel, size)
        which = ModelSpec(model, weights, device, backend, trust)
        where = Destinations(out, overwrite, logdir, html, "Dreams", formats, dpi, theme)
        if not images:
            noise = {"size": options.size_of(size), "output": options.entry_of(output)}
            wanted = {"target": target, "layer": layer, "channel": channel, **noise, "look": look}
            _from_noise(which, where, wanted, {**settings, "seed": seed})
            return
        from torchattr.runs import DreamJob

        def jobs(loaded: LoadedModel) -> list[PictureJob]:
            (name,) = layers_or_last(loaded, [layer] if layer else None)
            made = {**settings, "seed": seed}
            return [DreamJob(loaded, name, channel, made, weights=weights, look=look)]

        raise typer.Exit(run_on_images(images, which, where, jobs))


def _check(
    images: Any, target: str | None, layer: str | None, channel: int | None, size: str | None
) -> None:
    from torchattr.errors import InputError

    if target is not None and layer is not None:
        raise InputError("--target and --layer are mutually exclusive; pass one of them")
    if channel is not None and layer is None:
        raise InputError("--channel needs a layer; name it with --layer")
    if images and (target is not None or size is not None):
        option = "--size" if target is None else "--target"
        raise InputError(f"{option} is for images from noise; omit it, or the images")
    if not images and target is None and layer is None:
        raise InputError("pass a --target or a --layer to maximise, or images to start from")


def _from_noise(
    which: ModelSpec, where: Destinations, wanted: dict[str, Any], settings: dict[str, Any]
) -> None:
    from torchattr.kernels import backend
    from torchattr.runs import NoiseDream, class_index, example_input, failing_is_a_sentence

    sink = where.sink()
    loaded = which.load()
    target = wanted.pop("target")
    index = None if target is None else class_index(loaded, target)
    noise = NoiseDream(loaded, index, **wanted, options=settings, weights=which.weights)
    failing = failing_is_a_sentence(loaded, lambda: example_input(loaded))
    with backend(which.backend), sink, failing:
        sink.claim([noise.path])
        with progress_bar(1, "dreaming") as bar:
            entry = noise.entry(bar.update)
        for file in sink.add(entry):
            stdout.print(f"  {printable(str(file))}", style="dim", soft_wrap=True)
    where.say("1 image")
