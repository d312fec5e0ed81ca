"""The tables of shards: a Parquet file for each, which is there when the shard is done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchattr.bulk import packages
from torchattr.bulk.durable import write_durably

SUFFIX = "parquet"


@dataclass(frozen=True)
class ShardTables:
    """The tables of shards in a folder, which pandas and others read as one data set.

    A shard is done when its table has its final name.

    folder: where they are.
    """

    folder: Path

    def path(self, shard: int) -> Path:
        """Return where the table of a shard lies."""
        return self.folder / f"{shard:06d}.{SUFFIX}"

    def is_done(self, shard: int) -> bool:
        """Whether a shard is done."""
        return self.path(shard).exists()

    def done(self) -> list[int]:
        """Return the shards that are done."""
        return sorted(self._done())

    def _done(self) -> Iterator[int]:
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                stem, _, suffix = entry.name.rpartition(".")
                if suffix == SUFFIX and stem.isdecimal():
                    yield int(stem)

    def write(self, shard: int, table: bytes) -> None:
        """Write a table, after which the shard is done.

        Raises:
            FolderError: it cannot be written; the shard then is not done.
        """
        write_durably(self.path(shard), table)


def encoded(rows: Sequence[Mapping[str, Any]], schema: Any) -> bytes:
    """Return rows as a Parquet file; what a row does not have is missing there.

    Args:
        rows: values by column.
        schema: the columns and their types, of PyArrow.
    """
    arrow = packages.arrow()
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    sink = arrow.BufferOutputStream()
    packages.parquet().write_table(arrow.table(columns, schema), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
