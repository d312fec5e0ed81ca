"""The table of what is refused for which model, which may not grow or shrink silently.

`RENEW_REFUSALS=1 python -m pytest tests/sweep` writes it anew; look at the difference.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from torchattr import TorchattrError

PATH = Path(__file__).with_name("refusals.md")
RENEW = "RENEW_REFUSALS"
WORDS = 9
HEAD = """# What the sweep found refused

`RENEW_REFUSALS=1 python -m pytest tests/sweep` writes this table. A test fails where a refusal is
not in it, and where one that is in it does not happen.

| model | call | error | begins |
|---|---|---|---|
"""


@dataclass
class Refusals:
    """What each call of each model was refused with: `{(model, call): (error, words)}`."""

    known: dict[tuple[str, str], tuple[str, str]]

    @classmethod
    def read(cls) -> Refusals:
        lines = PATH.read_text(encoding="utf-8").split("|---|---|---|---|\n")[1].splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return cls({(model, call): (error, words) for model, call, error, words in rows})

    @contextmanager
    def expected(self, model: str, call: str) -> Iterator[None]:
        """Skip the rest of a call that is refused as the table says; fail at any difference."""
        try:
            yield
        except TorchattrError as error:
            found = (type(error).__name__, _begin(str(error)))
            self._compare(model, call, found)
            raise Refused from error
        self._compare(model, call, None)

    def _compare(self, model: str, call: str, found: tuple[str, str] | None) -> None:
        known = self.known.get((model, call))
        if RENEW in os.environ:
            self._note(model, call, found)
        elif found != known:
            pytest.fail(
                f"{call} of {model}: the table of refusals says {known or 'none'}, and there is"
                f" {found or 'none'}; if that is right, write it anew with {RENEW}=1"
            )

    def _note(self, model: str, call: str, found: tuple[str, str] | None) -> None:
        """Write the table at once, so that a run of some models, or one that ends, keeps it."""
        self.known.pop((model, call), None)
        if found:
            self.known[model, call] = found
        rows = [f"| {' | '.join((*key, *self.known[key]))} |\n" for key in sorted(self.known)]
        PATH.write_text(HEAD + "".join(rows), encoding="utf-8")


class Refused(Exception):
    """The call was refused, as the table says."""


def _begin(message: str) -> str:
    return " ".join(message.replace("|", "/").split()[:WORDS])
