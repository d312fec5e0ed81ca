"""The option `--load` of every command: files that register methods, rules or backends."""

from __future__ import annotations

from typing import Annotated

import typer

from torchattr.cli.console import reported


def _run(context: typer.Context, files: list[str] | None) -> None:
    # A shell that completes the line runs nothing.
    if not files or context.resilient_parsing:
        return
    with reported():
        from torchattr.models import run_file

        for file in files:
            run_file(file)


Load = Annotated[
    list[str] | None,
    typer.Option(
        "--load",
        callback=_run,
        # Before the other options, which may name what the file registers.
        is_eager=True,
        help="Run a Python file first, which may register methods, rules or backends; repeatable",
        metavar="FILE.py",
    ),
]
