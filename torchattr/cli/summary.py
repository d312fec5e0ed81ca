"""`torchattr summary`."""

from __future__ import annotations

from typing import Annotated

import typer

from torchattr.cli import options
from torchattr.cli.console import out as stdout
from torchattr.cli.console import reported
from torchattr.cli.run import Destinations, ModelSpec


def summary(
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    depth: Annotated[
        int | None, typer.Option(min=0, help="How many levels to show; all unless given")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Of the input: 224, or height and width as 224x320")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="How many pictures at once")] = 1,
    device: Annotated[
        str, typer.Option(help="As for explain; meta traces shapes alone, without any memory")
    ] = "auto",
    out: options.OutIfAny = None,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    html: options.Html = None,
) -> None:
    """Show what a model consists of and costs: shapes, parameters, multiply-adds, memory."""
    with reported():
        from torchattr.inspect import summary as summary_of
        from torchattr.runs import example_input, summary_entry

        height_and_width = options.size_of(size)
        where = Destinations(out, overwrite, logdir, html, "Summary")
        sink = where.sink()
        loaded = ModelSpec(model, weights, device, trust=trust).load()
        inputs = example_input(loaded)
        shape = (batch, inputs.shape[1], *(height_and_width or inputs.shape[2:]))
        found = summary_of(loaded.model, inputs.new_zeros(shape), depth=depth)
        stdout.print(str(found), soft_wrap=True)
        entry = summary_entry(loaded, found)
        with sink:
            sink.claim([entry.path])
            sink.add(entry)
        where.say("the summary is", "summary.txt")
