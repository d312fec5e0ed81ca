"""The store of a run: a Zarr group with an array for each method, and a table of the pictures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from torchattr.bulk import packages
from torchattr.bulk.durable import make_whole, write_durably
from torchattr.bulk.encoding import ENCODINGS, Encoding
from torchattr.bulk.record import Resolved
from torchattr.bulk.shards import Shards
from torchattr.bulk.tables import ShardTables
from torchattr.core.printable import printable
from torchattr.core.undoing import own_filters
from torchattr.errors import FolderError
from torchattr.models import reason

ATTRIBUTE = "torchattr"
"""The attribute of the group that holds the record."""

METADATA = "zarr.json"
"""The file that a group of Zarr has."""

ROWS, LEASES = "rows", "leases"
_UNREAD = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What Zarr raises of folders that are no group, and of damaged ones."""
_CHUNK_BYTES = 2**19
"""What one read should fetch: a few maps, so that both paging and going through are fast."""


@dataclass(frozen=True)
class StoredArray:
    """One array of a store, `(N, T, h, w)`, cut along its first dimension.

    name: the method, or method and layer.
    shape: that of each picture's maps, `(T, h, w)`.
    encoding: how maps become its values.
    shards: the shards of ids, each of which is one object.
    """

    name: str
    shape: tuple[int, ...]
    encoding: Encoding
    shards: Shards

    @property
    def per_chunk(self) -> int:
        """The number of pictures whose maps are read and decompressed together.

        A divisor of the shard size.
        """
        size = prod(self.shape) * np.dtype(self.encoding.dtype).itemsize
        most = max(_CHUNK_BYTES // max(size, 1), 1)
        whole = self.shards.size
        return next(one for one in range(min(most, whole), 0, -1) if whole % one == 0)

    def options(self, pictures: int) -> dict[str, Any]:
        """Return what Zarr makes an array of this many pictures with."""
        axes = ("row", "column") if len(self.shape) == 3 else (None,) * (len(self.shape) - 1)
        return {
            "shape": (pictures, *self.shape),
            "dtype": self.encoding.dtype,
            "chunks": (self.per_chunk, *self.shape),
            "shards": (self.shards.size, *self.shape),
            "fill_value": self.encoding.fill,
            "dimension_names": ("picture", "target", *axes),
            # Files side by side, rather than three folders for each of them.
            "chunk_key_encoding": {"name": "default", "separator": "."},
        }

    def encoded(self, values: np.ndarray) -> bytes | None:
        """Return the object of a shard, as Zarr writes it; `None` if it holds nothing at all."""
        zarr = packages.zarr()
        objects: dict[str, Any] = {}
        array = zarr.create_array(
            zarr.storage.MemoryStore(objects), **self.options(self.shards.size)
        )
        array[: len(values)] = values
        found = objects.get(self._key(0))
        return None if found is None else found.to_bytes()

    def path(self, root: Path, shard: int) -> Path:
        """Return where the object of a shard lies."""
        return root / self.name / self._key(shard)

    def _key(self, shard: int) -> str:
        return ".".join(("c", str(shard), *("0" for _ in self.shape)))


@dataclass(frozen=True, eq=False)
class MapStore:
    """The store of a run, which any number of processes write at once.

    A shard is done when its table has its final name, which is the last that it gets.

    root: its folder.
    record: all that the maps depend on.
    """

    root: Path
    record: Mapping[str, Any]

    @classmethod
    def find(cls, root: Path) -> MapStore | None:
        """Return the store in a folder; `None` if there is nothing.

        Raises:
            FolderError: the folder holds something else.
        """
        if not root.exists() or (root.is_dir() and not any(root.iterdir())):
            return None
        return cls.open(root)

    @classmethod
    def open(cls, root: Path) -> MapStore:
        """Return the store in a folder.

        Raises:
            FolderError: there is none.
        """
        zarr = packages.zarr()
        try:
            record = zarr.open_group(str(root), mode="r").attrs.get(ATTRIBUTE)
        except _UNREAD as error:
            raise _not_opened(root, error) from error
        if not isinstance(record, Mapping):
            raise _not_opened(root)
        return cls(root, record)

    @classmethod
    def create(cls, root: Path, record: Mapping[str, Any]) -> MapStore:
        """Make a store; of several processes that do, one makes it and all get that one.

        Raises:
            FolderError: it cannot be written.
        """
        if make_whole(root, lambda begun: cls(begun, record)._make()):
            return cls(root, record)
        return cls.open(root)

    def _make(self) -> None:
        zarr = packages.zarr()
        group = zarr.create_group(str(self.root), attributes={ATTRIBUTE: dict(self.record)})
        for array in self.arrays:
            group.create_array(array.name, **array.options(self.shards.ids))
        (self.root / ROWS).mkdir()
        with own_filters():
            # Zarr warns that the format does not describe it yet. Readers that do not know it list
            # the folder instead, and find the table in it.
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(str(self.root))

    @cached_property
    def resolved(self) -> Resolved:
        """What the process that began the run found out."""
        return Resolved.of(self.record)

    @cached_property
    def shards(self) -> Shards:
        """The shards of its ids."""
        return Shards(self.record["ids"]["count"], self.record["shard_size"])

    @cached_property
    def arrays(self) -> list[StoredArray]:
        """Its arrays, in the order of the methods."""
        encoding = ENCODINGS[self.record["dtype"]]
        return [
            StoredArray(name, shape, encoding, self.shards)
            for name, shape in self.resolved.arrays.items()
        ]

    @property
    def tables(self) -> ShardTables:
        """The tables of its shards."""
        return ShardTables(self.root / ROWS)

    def write(self, shard: int, values: Mapping[str, np.ndarray], table: bytes) -> None:
        """Write a shard, which then is done.

        Args:
            shard: its number.
            values: of each array, for all its pictures.
            table: its table, as a Parquet file.

        Raises:
            FolderError: it cannot be written; it then is not done.
        """
        for array in self.arrays:
            content, path = array.encoded(values[array.name]), array.path(self.root, shard)
            if content is None:
                path.unlink(missing_ok=True)
            else:
                write_durably(path, content)
        self.tables.write(shard, table)


def _not_opened(root: Path, error: Exception | None = None) -> FolderError:
    """Return the error about a folder that is no store, or of which Zarr raised something."""
    if error is not None and (root / METADATA).exists():
        text = (
            f"the store in {root} cannot be read ({reason(error)}); restore its {METADATA}, or use"
            " another folder"
        )
        return FolderError(printable(text))
    kind = (
        "holds no store of maps"
        if root.is_dir()
        else "is a file"
        if root.exists()
        else "does not exist"
    )
    return FolderError(
        printable(
            f"{root} {kind}; pass the folder of a store of maps, which `torchattr run` makes where"
            " there is nothing yet"
        )
    )
