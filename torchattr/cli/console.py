"""The terminal: results to stdout, notes and errors to stderr."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from traceback import FrameSummary
from types import TracebackType
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from torchattr.cli.options import in_command
from torchattr.cli.signals import ending_like_ctrl_c, exit_code
from torchattr.core.printable import printable
from torchattr.errors import CoverageWarning, TorchattrError, TorchattrWarning

USAGE = 2
"""The exit code of bad input."""

TRACEBACK = "TORCHATTR_TRACEBACK"
"""The environment variable that keeps the traceback of every error."""

out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)


def note(text: str) -> None:
    """Print a note, in one line."""
    _say("note", "bold cyan", text)


def fault(text: str, word: str = "error") -> None:
    """Print an error, verbatim."""
    _say(word, "bold red", text)


def _say(word: str, style: str, text: str) -> None:
    with err.capture() as rendered:
        line = printable(" ".join(text.split()))
        err.print(Text.assemble((f"{word}: ", style), line), soft_wrap=True)
    # A live progress bar replaces this stream, and prints above itself what is written to it.
    sys.stderr.write(rendered.get())


@contextmanager
def reported() -> Iterator[None]:
    """Print the package's errors and warnings as sentences, and end quietly on Ctrl-C.

    Errors raised by a user's own file are printed as well; SIGTERM and SIGHUP end a command as
    Ctrl-C does. Any other error keeps its traceback.
    """
    try:
        with ending_like_ctrl_c(), _FaultsOfUsers(), _warnings_as_notes():
            yield
    except TorchattrError as error:
        if os.environ.get(TRACEBACK):
            raise
        fault(error.said(in_command))
        raise typer.Exit(USAGE) from None
    except KeyboardInterrupt as interrupt:
        fault("interrupted", word="stop")
        raise typer.Exit(exit_code(interrupt)) from None


class _FaultsOfUsers:
    """Prints what a user's own file raised as a sentence that names the line, after its calls."""

    def __enter__(self) -> None:
        """Do nothing: only errors are handled."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, (TorchattrError, KeyboardInterrupt, typer.Exit)):
            return
        from torchattr.models import blamed, frames_of_user

        said = None if os.environ.get(TRACEBACK) else blamed(error)
        if said is not None:
            _show_frames(frames_of_user(error))
            fault(f"{said} (set {TRACEBACK}=1 for the traceback)")
            raise typer.Exit(USAGE) from None


def _show_frames(frames: Sequence[FrameSummary]) -> None:
    """Print how the user's own code came to the line that raised, as Python does."""
    for frame in frames if len(frames) > 1 else ():
        place = f"  {frame.filename}, line {frame.lineno}, in {frame.name}"
        err.print(printable(place), style="dim", soft_wrap=True)
        err.print(printable(f"    {frame.line}"), style="dim", soft_wrap=True)


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    reported: set[str] = set()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **options: Any) -> None:
            if not issubclass(category, TorchattrWarning):
                others(message, category, *place, **options)
            elif (said := message.said(in_command)) not in reported:
                reported.add(said)
                note(said)

        warnings.showwarning = show
        warnings.simplefilter("always", TorchattrWarning)
        # The command reports coverage once, for all methods.
        warnings.simplefilter("ignore", CoverageWarning)
        yield
