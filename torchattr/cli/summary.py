"""`torchattr summary`."""

from __future__ import annotations

from typing import Annotated

import typer

from torchattr.cli import options
from torchattr.cli.charts import show_json
from torchattr.cli.console import out as stdout
from torchattr.cli.console import reported
from torchattr.cli.loading import Load
from torchattr.cli.run import Destinations, ModelSpec


def summary(
    model: options.Model = "demo",
    weights: options.Weights = None,
    trust: options.Trust = False,
    depth: Annotated[
        int | None, typer.Option(min=0, help="Number of levels to show; default all")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Input size: 224, or HEIGHTxWIDTH")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Batch size")] = 1,
    device: Annotated[
        str, typer.Option(help="As for explain; meta traces shapes only, without allocating memory")
    ] = "auto",
    out: options.OutIfAny = None,
    overwrite: options.Overwrite = False,
    logdir: options.Logdir = None,
    html: options.Html = None,
    json: options.Json = False,
    load: Load = None,
) -> None:
    """Summarise a model: shapes, parameters, multiply-adds, memory."""
    with reported():
        from torchattr.inspect import summary as summary_of
        from torchattr.runs import example_input, failing_is_a_sentence, made_by, summary_entry

        height_and_width = options.size_of(size)
        where = Destinations(out, overwrite, logdir, html, "Summary")
        sink = where.sink()
        loaded = ModelSpec(model, weights, device, trust=trust).load()
        inputs = example_input(loaded)
        shape = (batch, inputs.shape[1], *(height_and_width or inputs.shape[2:]))
        pictures = inputs.new_zeros(shape)
        with failing_is_a_sentence(loaded, lambda: pictures):
            found = summary_of(loaded.model, pictures, depth=depth)
        if json:
            show_json({**made_by(loaded), "input": list(shape), **found.as_dict()})
        else:
            stdout.print(str(found), soft_wrap=True)
        entry = summary_entry(loaded, found)
        with sink:
            sink.claim([entry.path])
            sink.add(entry)
        if not json:
            where.say("the summary", "summary.txt")
