"""The command `torchattr`.

What needs PyTorch is imported inside the commands, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from torchattr.cli.activations import activations
from torchattr.cli.backproject import backproject
from torchattr.cli.dream import dream
from torchattr.cli.explain import explain
from torchattr.cli.kernels import kernels
from torchattr.cli.layers import layers
from torchattr.cli.lists import info, methods
from torchattr.cli.report import report
from torchattr.cli.summary import summary
from torchattr.cli.view import view

app = typer.Typer(
    name="torchattr",
    help="Show which parts of a picture a model's answer rests on.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback is for whoever can mend the fault, so it comes as Python writes it.
    pretty_exceptions_enable=False,
)
app.command()(explain)
app.command()(report)
app.command()(layers)
app.command()(activations)
app.command()(backproject)
app.command()(dream)
app.command()(kernels)
app.command()(summary)
app.command()(methods)
app.command()(info)
app.command()(view)


def main() -> None:
    """Run the command; the entry point of the package."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that has no sign for a letter gets a question mark, not a traceback.
            stream.reconfigure(errors="replace")
    app()


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"torchattr {version('torchattr')}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Show which parts of a picture a model's answer rests on.

    Without anything else, [bold]torchattr explain[/bold] explains the pictures that come with the
    package, with a small model that needs no download.
    """
