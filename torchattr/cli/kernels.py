"""`torchattr kernels`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchattr.cli import options
from torchattr.cli.console import out as stdout
from torchattr.cli.console import reported
from torchattr.cli.loading import Load
from torchattr.cli.run import Destinations, ModelSpec
from torchattr.core.printable import printable

if TYPE_CHECKING:
    from torchattr.show import Look


def kernels(
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Convolution by name or pattern; repeatable; default all"),
    ] = None,
    channel: Annotated[
        list[int] | None, typer.Option("--channel", help="Output channel; repeatable")
    ] = None,
    input_channel: Annotated[
        list[int] | None, typer.Option("--input-channel", help="Input channel; repeatable")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="rgb, channels (one image each), mean (over channels), or auto")
    ] = "auto",
    shared: Annotated[
        bool, typer.Option("--shared", help="Use one colour scale for all kernels of a layer")
    ] = False,
    device: options.Device = "auto",
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
    """Show the kernels of convolutions: a grid (PNG) and the raw values (NPZ) for each layer."""
    with reported():
        settings: dict[str, Any] = {
            "layers": layer or [],
            "output_channels": channel or None,
            "input_channels": input_channel or None,
            "mode": mode,
            "shared": shared,
            "weights": weights,
        }
        where = Destinations(out, overwrite, logdir, html, "Kernels", formats, dpi, theme)
        look = options.look_of(theme, scale)
        _show(ModelSpec(model, weights, device, trust=trust), where, settings, look)


def _show(which: ModelSpec, where: Destinations, settings: dict[str, Any], look: Look) -> None:
    from torchattr.results import KERNELS
    from torchattr.runs import kernel_entries, kernel_names, kernels_of

    sink = where.sink()
    loaded = which.load()
    chosen = (settings["layers"], settings["output_channels"], settings["input_channels"])
    found = list(kernels_of(loaded, *chosen))
    drawn = {"mode": settings["mode"], "shared": settings["shared"]}
    with sink:
        # All are drawn before any is written, so that an unsuitable mode writes nothing.
        entries = list(kernel_entries(loaded, found, drawn, settings, look))
        sink.claim([f"{KERNELS}/{name}" for name in kernel_names(found)])
        for entry in entries:
            for file in sink.add(entry):
                stdout.print(f"  {printable(str(file))}", style="dim", soft_wrap=True)
    where.say("1 layer" if len(found) == 1 else f"{len(found)} layers")
