"""The store of a benchmark: its record, and a table of values for each shard of pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchattr.bulk import packages
from torchattr.bulk.annotated.annotation import Annotation
from torchattr.bulk.annotated.seen_pictures import LeftOut, SeenPicture
from torchattr.bulk.durable import make_whole
from torchattr.bulk.shards import Shards
from torchattr.bulk.tables import ShardTables, encoded
from torchattr.core.printable import printable
from torchattr.errors import FolderError

RECORD = "_record.json"
"""Readers of a folder of Parquet files leave out names that begin with an underscore."""

SHARD_SIZE = 8
"""Pictures that are done or not done together: as many as share a forward."""


@dataclass(frozen=True, eq=False)
class ValueStore:
    """A folder of tables with a row for each picture and method, and a column for each metric.

    A picture that was left out has one row, with the reason.

    root: the folder.
    record: all that the values depend on.
    """

    root: Path
    record: Mapping[str, Any]

    @classmethod
    def find(cls, root: Path) -> ValueStore | None:
        """Return the store in a folder; `None` if there is nothing.

        Raises:
            FolderError: the folder holds something else.
        """
        if not root.exists():
            return None
        try:
            return cls(root, json.loads((root / RECORD).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise FolderError(
                printable(
                    f"out: {root} was not made by `torchattr benchmark --data` ({error}); choose"
                    " another folder"
                )
            ) from error

    @classmethod
    def create(cls, root: Path, record: Mapping[str, Any]) -> ValueStore:
        """Make a store; of several processes that do, one makes it and all get that one.

        Raises:
            FolderError: it cannot be written.
        """
        content = json.dumps(record, indent=2)
        make_whole(root, lambda begun: (begun / RECORD).write_text(content, encoding="utf-8"))
        return cls.find(root) or cls(root, record)

    @property
    def tables(self) -> ShardTables:
        """The tables of its shards."""
        return ShardTables(self.root)

    @property
    def shards(self) -> Shards:
        """The shards of its pictures."""
        return Shards(self.record["ids"]["count"], SHARD_SIZE)

    def write(self, shard: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a shard, which then is done.

        Raises:
            FolderError: it cannot be written.
        """
        self.tables.write(shard, encoded(rows, self._schema()))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all shards that are done, in order."""
        read = packages.parquet().read_table
        shards = (read(self.tables.path(shard)).to_pylist() for shard in self.tables.done())
        return [row for shard in shards for row in shard]

    def _schema(self) -> Any:
        arrow = packages.arrow()
        return arrow.schema(
            {
                "position": arrow.int64(),
                "path": arrow.string(),
                "label": arrow.string(),
                "target": arrow.int64(),
                "seen": arrow.float64(),
                "reason": arrow.string(),
                "method": arrow.string(),
                **{name: arrow.float64() for name in self.record["metrics"]},
            }.items()
        )


def rows_of(
    position: int,
    annotation: Annotation,
    read: SeenPicture | LeftOut,
    values: Mapping[str, Mapping[str, float]],
) -> list[dict[str, Any]]:
    """Return the rows of a picture.

    Args:
        position: of the picture.
        annotation: its boxes.
        read: what the model sees of it, or why it was left out.
        values: of each metric, by method; none if it was left out.
    """
    row = {"position": position, "path": annotation.path, "label": annotation.label}
    if isinstance(read, LeftOut):
        return [{**row, "reason": read.reason}]
    row |= {"target": read.target, "seen": read.seen}
    return [{**row, "method": method, **own} for method, own in values.items()]


def values_of(
    rows: Sequence[Mapping[str, Any]], methods: Sequence[str], metrics: Sequence[str]
) -> Tensor:
    """Return the values of all pictures that were measured, `(N, methods, metrics)`."""
    numbers = [[row[metric] for metric in metrics] for row in rows if row["reason"] is None]
    found = torch.tensor(numbers, dtype=torch.float64).reshape(-1, len(metrics))
    return found.reshape(-1, len(methods), len(metrics))
