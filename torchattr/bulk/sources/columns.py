"""Named columns of a table: text with separators, or Parquet."""

from __future__ import annotations

import csv
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torchattr.errors import ImageError, InputError, PackageError

SEPARATORS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
SUFFIXES = (*SEPARATORS, *PARQUET)


class Columns(ABC):
    """The columns of a table, read by name.

    names: of all columns.
    """

    names: Sequence[str]

    @classmethod
    def of(cls, table: str | Path) -> Columns:
        """Open a table by its suffix.

        Raises:
            ImageError: it cannot be read.
            InputError: the suffix is none of `SUFFIXES`.
            PackageError: a Parquet file, and pyarrow is not installed.
        """
        suffix = Path(table).suffix.lower()
        if suffix in SEPARATORS:
            return TextColumns(table, SEPARATORS[suffix])
        if suffix in PARQUET:
            return ParquetColumns(table)
        raise InputError(
            f"the table {table} must be one of {', '.join(SUFFIXES)}, got {suffix or 'no suffix'}"
        )

    def check_has(self, needed: Iterable[str | None], what: str) -> None:
        """Check that columns of these names exist; `None` stands for one that is not needed.

        what: the table, for the error.

        Raises:
            InputError: one does not.
        """
        for column in needed:
            if column is not None and column not in self.names:
                there = ", ".join(map(repr, self.names)) or "none"
                raise InputError(f"{what} has no column {column!r}; there are: {there}")

    @abstractmethod
    def values(self, name: str) -> Sequence[Any]:
        """Return a column from top to bottom."""


class TextColumns(Columns):
    """A text with a row of names first, such as CSV; empty rows are left out."""

    def __init__(self, table: str | Path, separator: str) -> None:
        try:
            # A byte order mark, which spreadsheets write, is no part of the first name.
            with open(table, encoding="utf-8-sig", newline="") as file:
                rows = [row for row in csv.reader(file, delimiter=separator) if row]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise _unreadable(table, error) from error
        self.names = rows[0] if rows else []
        self._rows = rows[1:]
        ragged = next((row for row in self._rows if len(row) != len(self.names)), None)
        if ragged is not None:
            raise InputError(
                f"the table {table} has {len(self.names)} columns, but {len(ragged)} values in the"
                f" row that starts with {ragged[0]!r}; put text with separators into quotes"
            )

    def values(self, name: str) -> Sequence[str]:
        place = self.names.index(name)
        return [row[place] for row in self._rows]


class ParquetColumns(Columns):
    """A Parquet file; only the columns that are asked for are read."""

    def __init__(self, table: str | Path) -> None:
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise PackageError(
                f"{table}: Parquet needs pyarrow, which could not be imported ({error}); install it"
                " with: pip install pyarrow"
            ) from error
        try:
            self._file = ParquetFile(os.fspath(table))
        except (OSError, ArrowException) as error:
            raise _unreadable(table, error) from error
        self.names = list(self._file.schema_arrow.names)

    def values(self, name: str) -> Sequence[Any]:
        return self._file.read([name]).column(0).to_pylist()


def _unreadable(table: str | Path, error: Exception) -> ImageError:
    reason = getattr(error, "strerror", None) or error
    return ImageError(f"the table {table} cannot be read ({reason})")
