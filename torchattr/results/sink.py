"""Where results go: what is kept of one thing that was looked at, and the interface that takes it.

A sink is a folder of files, a TensorBoard log or one HTML page; the commands hand the same entries
to each of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from torchattr.results.files import not_interrupted

_S = TypeVar("_S", bound="Sink")
Singles = Callable[[], Iterable[tuple[str, Any]]]


@dataclass(frozen=True, eq=False)
class Entry:
    """A named picture with its arrays and a record.

    name: of what was looked at, such as a picture; what its files are called.
    picture: what there is to see: a panel or a grid.
    arrays: the raw values by name.
    record: what the manifest says of it, as plain data.
    group: what it is of, such as `activations/features.3`: the folder of its files.
    title: the same in words.
    index: the position of what was looked at in the run, from 0.
    singles: makes the single pictures of a grid when they are wanted, each with its name.
    text: what there is to read, such as a table.
    """

    name: str
    picture: Image.Image | None
    arrays: Mapping[str, np.ndarray]
    record: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    title: str = ""
    index: int = 0
    singles: Singles = tuple
    text: str = ""

    @property
    def path(self) -> str:
        """The name below the group: `activations/features.3/cat`."""
        return f"{self.group}/{self.name}" if self.group else self.name


class Sink(ABC):
    """Takes entries one after another, and finishes when its `with` block ends, however it ends.

    What was added before an error stays, and is whole.
    """

    def __enter__(self: _S) -> _S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def claim(self, paths: Sequence[str]) -> None:
        """Make sure that entries of these paths replace nothing that is not a run's own.

        Raises:
            FolderError: a file of the same name was written by someone else.
        """
        return

    @abstractmethod
    def add(self, entry: Entry) -> list[Path]:
        """Take one entry; give the files that were written for it.

        Raises:
            FolderError: they cannot be written.
        """

    @abstractmethod
    def skip(self, source: str, reason: str) -> None:
        """Note that something could not be looked at, and why."""

    def has_finished(self, key: str) -> bool:
        """Whether a former run handed over all results of a picture, and they are still there.

        key: the digest of all that they depend on.
        """
        return False

    def finish(self, key: str) -> None:
        """Remember that the entries since the last call are all the results of a picture."""
        return

    @abstractmethod
    def close(self) -> list[Path]:
        """Write what is written last; give its files."""


class Tee(Sink):
    """Hands everything to several sinks, and counts the pictures that are done (`finished`)."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks
        self.finished = 0

    def claim(self, paths: Sequence[str]) -> None:
        for sink in self._sinks:
            sink.claim(paths)

    def add(self, entry: Entry) -> list[Path]:
        return [file for sink in self._sinks for file in sink.add(entry)]

    def skip(self, source: str, reason: str) -> None:
        for sink in self._sinks:
            sink.skip(source, reason)

    def has_finished(self, key: str) -> bool:
        return bool(self._sinks) and all(sink.has_finished(key) for sink in self._sinks)

    def finish(self, key: str) -> None:
        # Counted before a signal is answered, so that what is said of an ended run is right.
        with not_interrupted():
            for sink in self._sinks:
                sink.finish(key)
            self.finished += 1

    def close(self) -> list[Path]:
        files: list[Path] = []
        with ExitStack() as closing:
            # Each is closed, also when another fails to.
            for sink in reversed(self._sinks):
                closing.callback(_close, sink, files)
        return files


def _close(sink: Sink, files: list[Path]) -> None:
    files.extend(sink.close())
