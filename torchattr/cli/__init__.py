"""The command `torchattr`.

Modules that need PyTorch are imported inside the commands, so that `--help` and `--version` are
fast.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

from torchattr.cli.activations import activations
from torchattr.cli.backproject import backproject
from torchattr.cli.benchmark import benchmark
from torchattr.cli.bulk import run
from torchattr.cli.check import check
from torchattr.cli.dream import dream
from torchattr.cli.explain import explain
from torchattr.cli.kernels import kernels
from torchattr.cli.layers import layers
from torchattr.cli.lists import info, methods
from torchattr.cli.options import offering
from torchattr.cli.report import report
from torchattr.cli.summary import summary
from torchattr.cli.view import view
from torchattr.core.versions import own_version

app = typer.Typer(
    name="torchattr",
    help="Show which parts of an image a model's prediction depends on.",
    no_args_is_help=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # Typer's own flags have no default; it would import pydantic to convert that to none.
        "default_map": dict.fromkeys(("help", "install_completion", "show_completion"), False),
    },
    # Tracebacks are for developers, so they are printed as Python prints them.
    pretty_exceptions_enable=False,
)
app.command()(explain)
app.command()(report)
app.command()(check)
app.command()(run)
app.command()(layers)
app.command()(activations)
app.command()(backproject)
app.command()(dream)
app.command()(kernels)
app.command()(summary)
app.command()(methods)
app.command()(info)
app.command()(benchmark)
app.command()(view)


def main() -> None:
    """Run the command; the entry point of the package."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that a terminal cannot print becomes a question mark, not a traceback.
            stream.reconfigure(errors="replace")
    # `python -m torchattr` would complete a command of three words, which no shell can.
    app(prog_name="torchattr")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"torchattr {own_version()}")
        raise typer.Exit()


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Show which parts of an image a model's prediction depends on.

    Without arguments, [bold]torchattr explain[/bold] explains bundled sample images with a bundled
    small model; nothing is downloaded.
    """
    group, name = context.command, context.invoked_subcommand
    if isinstance(group, TyperGroup) and name is not None and name in group.commands:
        parameters = group.commands[name].params
        context.with_resource(offering(text for one in parameters for text in one.opts))
