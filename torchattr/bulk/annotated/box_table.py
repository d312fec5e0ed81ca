"""Boxes from a table: a row for each box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchattr.bulk.annotated.annotation import Annotation, as_number
from torchattr.bulk.sources.columns import Columns
from torchattr.errors import InputError
from torchattr.models import Box

EDGES = ("x0", "y0", "x1", "y1")
SIZE = ("width", "height")
LABELS = ("label", "class")


def annotations_of_table(table: str | Path) -> Iterator[Annotation]:
    """Yield the boxes of a table (`.csv`, `.tsv` or `.parquet`).

    Its columns are `path`; `label` or `class`; the edges `x0`, `y0`, `x1` and `y1` in pixels, right
    and bottom exclusive; and, if they are known, `width` and `height` of the picture.

    Raises:
        ImageError: the table cannot be read.
        InputError: a column is missing, or a value of a row.
        PackageError: a Parquet file, and pyarrow is not installed.
    """
    what, columns = f"the table {table}", Columns.of(table)
    label = next((name for name in LABELS if name in columns.names), LABELS[0])
    sized = SIZE if set(SIZE) & set(columns.names) else ()
    needed = ("path", label, *EDGES, *sized)
    columns.check_has(needed, what)
    values = (columns.values(name) for name in needed)
    for number, row in enumerate(zip(*values, strict=True), 1):
        named = dict(zip(needed, row, strict=True))
        yield _annotation(named, label, sized, f"{what}, row {number}")


def _annotation(row: dict[str, Any], label: str, sized: tuple[str, ...], where: str) -> Annotation:
    for column in ("path", label):
        if row[column] is None or not str(row[column]).strip():
            raise InputError(f"{where} has no {column}")
    edges = (as_number(row[name], f"{where}: {name}") for name in EDGES)
    size = [round(as_number(row[name], f"{where}: {name}")) for name in sized]
    return Annotation(
        str(row["path"]),
        str(row[label]).strip(),
        (Box(*edges),),
        (size[0], size[1]) if size else None,
    )
