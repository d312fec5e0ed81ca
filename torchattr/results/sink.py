"""Entries, and the interface of the sinks that take them.

A sink is a folder of files, a TensorBoard log or one HTML page; the commands pass the same entries
to each of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from torchattr.results.files import not_interrupted
from torchattr.show import Drawing

_S = TypeVar("_S", bound="Sink")
Singles = Callable[[], Iterable[tuple[str, Any]]]


@dataclass(frozen=True, eq=False)
class Entry:
    """A named picture with its arrays and a record.

    name: of the picture or model that it is about; the stem of its files.
    drawing: a panel or a grid, if any.
    arrays: the raw values by name.
    record: its manifest record, as plain data.
    group: the folder of its files, such as `activations/features.3`.
    title: its heading.
    index: the position of the picture in the run, from 0.
    singles: makes the single pictures of a grid on demand, each with its name.
    text: a text to show, such as a table.
    markup: the same text as HTML.
    subject: the heading of the page's section that it belongs to; by default the name.
    """

    name: str
    drawing: Drawing | None
    arrays: Mapping[str, np.ndarray]
    record: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    title: str = ""
    index: int = 0
    singles: Singles = tuple
    text: str = ""
    markup: str = ""
    subject: str = ""

    @cached_property
    def picture(self) -> Image.Image | None:
        """The panel or the grid as pixels."""
        return None if self.drawing is None else self.drawing.image()

    @property
    def path(self) -> str:
        """The group and the name: `activations/features.3/cat`."""
        return f"{self.group}/{self.name}" if self.group else self.name


class Sink(ABC):
    """Takes entries one by one, and is closed at the end of its `with` block, also after an error.

    Entries added before an error are kept, and are complete.
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
        """Check that entries of these paths would replace only files created by torchattr.

        Raises:
            FolderError: a file of the same name was not created by torchattr.
        """
        return

    @abstractmethod
    def add(self, entry: Entry) -> list[Path]:
        """Add one entry and return the files that were written for it.

        Raises:
            FolderError: they cannot be written.
        """

    @abstractmethod
    def skip(self, source: str, reason: str) -> None:
        """Record that a picture could not be read, and why."""

    def has_finished(self, key: str) -> bool:
        """Whether an earlier run finished a picture, and its results still exist.

        key: the digest of everything that they depend on.
        """
        return False

    def finish(self, key: str) -> None:
        """Record that the entries since the last call are all the results of a picture."""
        return

    @abstractmethod
    def close(self) -> list[Path]:
        """Write what remains and return its files."""


class Tee(Sink):
    """Passes everything to several sinks, and counts the finished pictures (`finished`)."""

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
        # Counted before a deferred signal is raised, so that an interrupted run reports it.
        with not_interrupted():
            for sink in self._sinks:
                sink.finish(key)
            self.finished += 1

    def close(self) -> list[Path]:
        files: list[Path] = []
        with ExitStack() as closing:
            # Each is closed, even if another one fails to.
            for sink in reversed(self._sinks):
                closing.callback(_close, sink, files)
        return files


def _close(sink: Sink, files: list[Path]) -> None:
    files.extend(sink.close())
