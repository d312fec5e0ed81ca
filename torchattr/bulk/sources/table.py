"""A table of pictures: CSV or Parquet, with a column of paths and, if known, one of labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from torchattr.bulk.sources.columns import Columns
from torchattr.bulk.sources.labels import class_numbers
from torchattr.bulk.sources.pictures import Pictures, sorted_ids
from torchattr.errors import InputError
from torchattr.models import read_image


class TablePictures(Pictures):
    """The pictures whose paths a table lists: a `.csv`, `.tsv` or `.parquet` with named columns.

    Args:
        table: the file.
        path: the column of paths, which are relative to `folder`.
        label: the column of labels: class numbers, or names of classes; `None` takes the column
            `label`, if there is one.
        id: the column of ids; `None` takes the paths as they are written.
        folder: what paths are relative to; `None` is the folder of the table.
        class_names: the names of the classes; `None` takes the names that occur, sorted.

    Raises:
        ImageError: the table cannot be read.
        InputError: a column is missing, a row has no path, an id occurs twice, or a label names no
            class.
        PackageError: a Parquet file, and pyarrow is not installed.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "all.csv").write_text("path,label\\nb.png,dog\\na.png,cat\\n")
    ...     table = TablePictures(Path(folder, "all.csv"))
    >>> table.ids(), table.label(1), table.class_names()
    (['a.png', 'b.png'], 1, ['cat', 'dog'])
    """

    def __init__(
        self,
        table: str | Path,
        *,
        path: str = "path",
        label: str | None = None,
        id: str | None = None,
        folder: str | Path | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self._table = os.fspath(table)
        self._folder = os.fspath(folder if folder is not None else Path(table).parent)
        what = f"the table {table}"
        columns = Columns.of(table)
        if label is None and "label" in columns.names:
            label = "label"
        columns.check_has((path, label, id), what)
        paths = [_path(one, row, what) for row, one in enumerate(columns.values(path))]
        given = paths if id is None else [str(one) for one in columns.values(id)]
        self._ids = sorted_ids(given, what)
        order = sorted(range(len(given)), key=given.__getitem__)
        self._paths = self._ids if id is None else [paths[row] for row in order]
        labels = [None] * len(paths) if label is None else columns.values(label)
        numbers, self._class_names = class_numbers(labels, class_names, what)
        self._labels = [numbers[row] for row in order]

    def ids(self) -> Sequence[str]:
        return self._ids

    def read(self, position: int) -> Image.Image:
        return read_image(self.path(position))

    def path(self, position: int) -> str:
        return os.path.join(self._folder, self._paths[position])

    def label(self, position: int) -> int | None:
        return self._labels[position]

    def class_names(self) -> Sequence[str] | None:
        return self._class_names

    def described(self) -> Mapping[str, Any]:
        return {"kind": "table", "table": os.path.abspath(self._table)}


def _path(value: Any, row: int, what: str) -> str:
    if value is None or str(value) == "":
        raise InputError(f"{what} has no path in row {row + 1}")
    return str(value)
