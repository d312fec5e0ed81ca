"""Open a store of maps: arrays, rows by id, panels, and iteration as a data set of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from torchattr.bulk import packages
from torchattr.bulk.encoding import decoded
from torchattr.bulk.shard_content import schema_of
from torchattr.bulk.store import METADATA, MapStore
from torchattr.core.paths import expanded
from torchattr.errors import InputError
from torchattr.models import read_image
from torchattr.show import panel

UNKNOWN = -1
"""What stands for a class that is not known, where only numbers fit."""


class MapArray:
    """The maps of one method, read and decoded as they are indexed.

    `array[3]`, `array[10:20]` and `array[[4, 2]]` are float32 arrays of NumPy; pictures without a
    map are NaN.

    Attributes:
        stored: the array of Zarr, with the numbers as they are stored.
        shape: pictures, targets, and the dimensions of a map.
    """

    def __init__(self, stored: Any, name: str, maps: Maps) -> None:
        self.stored = stored
        self.shape: tuple[int, ...] = tuple(stored.shape)
        self._name = name
        self._maps = maps

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: int | slice | Sequence[int]) -> np.ndarray:
        places = np.arange(len(self))[which]
        values = self._read(np.atleast_1d(places))
        scale, zero = (self._maps.numbers(f"{what}/{self._name}", places) for what in _SCALING)
        found = decoded(values, scale, zero)
        return found[0] if np.ndim(places) == 0 else found

    def _read(self, places: np.ndarray) -> np.ndarray:
        if len(places) > 1 and (np.diff(places) == 1).all():
            return np.asarray(self.stored[int(places[0]) : int(places[-1]) + 1])
        return (
            np.asarray(self.stored.oindex[places])
            if len(places) != 1
            else np.asarray(self.stored[int(places[0]) : int(places[0]) + 1])
        )

    def __repr__(self) -> str:
        return f"MapArray({self._name} {self.shape}, stored as {self.stored.dtype})"


_SCALING = ("scale", "zero")


class Maps(Dataset):
    """The maps of a data set, by position or id.

    As a data set of PyTorch, it has a dict for each picture: `position`, `id`, `label`, `targets`,
    `scores`, `reason`, and `maps`, a dict of tensors `(T, h, w)`. What is not known is -1, NaN or
    empty, so that batches can be made of it.

    Attributes:
        record: what the maps were made with: model, methods, targets, preprocessing, versions.
        arrays: a :class:`MapArray` for each method, or method and layer.

    >>> import tempfile, torchattr as ta
    >>> from torchattr.models.collage import examples
    >>> folder, out = examples()[0].path.parent, tempfile.mkdtemp() + "/maps.zarr"
    >>> _ = ta.run("demo", folder, "saliency", out=out, workers=0, watch=lambda progress: None)
    >>> ta.open_maps(out)
    Maps(demo: saliency (4, 1, ...); 1 of 1 shards done)
    """

    def __init__(self, path: str | Path) -> None:
        self._path = expanded(path, InputError)
        self._store = MapStore.open(self._path)
        group = packages.zarr().open_group(str(self._path), mode="r")
        self.record: Mapping[str, Any] = self._store.record
        self.arrays: Mapping[str, MapArray] = {
            one.name: MapArray(group[one.name], one.name, self) for one in self._store.arrays
        }

    def __len__(self) -> int:
        return self._store.shards.ids

    def __repr__(self) -> str:
        done, shards = len(self._store.tables.done()), len(self._store.shards)
        shapes = ", ".join(f"{name} {one.shape}" for name, one in self.arrays.items())
        return f"Maps({self.record['model']}: {shapes}; {done} of {shards} shards done)"

    @cached_property
    def rows(self) -> Any:
        """The table of the pictures of all shards that are done, of PyArrow, by position."""
        arrow, reader = packages.arrow(), packages.parquet()
        paths = [self._store.tables.path(shard) for shard in self._store.tables.done()]
        with ThreadPoolExecutor() as threads:
            tables = list(threads.map(lambda path: reader.ParquetFile(path).read(), paths))
        return arrow.concat_tables(tables) if tables else schema_of(self._store).empty_table()

    @cached_property
    def finished(self) -> np.ndarray:
        """The positions of the pictures that have maps."""
        reasons = self.rows.column("reason").is_null().to_numpy()
        return self.rows.column("position").to_numpy()[reasons]

    @property
    def targets(self) -> Sequence[str]:
        """The name of each target."""
        return self._store.resolved.targets

    def position(self, one: str) -> int:
        """Return the position of an id.

        Raises:
            KeyError: there is none, or its shard is not done yet.
        """
        row = packages.compute().index(self.rows.column("id"), one).as_py()
        if row < 0:
            raise KeyError(f"no picture {one!r} in {self._path}, or its shard is not done yet")
        return int(self.rows.column("position")[row].as_py())

    def row(self, which: int | str) -> dict[str, Any]:
        """Return the row of a position or id, by column.

        Raises:
            KeyError: an unknown id.
            IndexError: a position out of range.
        """
        position = self.position(which) if isinstance(which, str) else self._checked(which)
        row = int(self._row_of[position])
        if row < 0:
            return {"position": position, "reason": "its shard is not done yet"}
        found: dict[str, Any] = self.rows.slice(row, 1).to_pylist()[0]
        return found

    def __getitem__(self, which: int | str) -> dict[str, Any]:
        row = self.row(which)
        position, count = row["position"], len(self.targets)
        targets, scores = row.get("targets"), row.get("scores")
        label = row.get("label")
        return {
            "position": position,
            "id": row.get("id") or "",
            "label": UNKNOWN if label is None else label,
            "targets": torch.tensor(targets if targets is not None else [UNKNOWN] * count),
            "scores": torch.tensor(scores if scores is not None else [torch.nan] * count),
            "reason": row.get("reason") or "",
            "maps": {
                name: torch.from_numpy(array[position]) for name, array in self.arrays.items()
            },
        }

    def numbers(self, column: str, places: np.ndarray) -> np.ndarray | None:
        """Return a column of lists of numbers at positions, `(N, T)`; `None` if there is none.

        NaN stands for what is missing.
        """
        if column not in self.rows.column_names:
            return None
        whole = self._numbers(column)
        rows = self._row_of[np.atleast_1d(places)]
        return np.where(rows[:, None] < 0, np.nan, whole[rows])

    def panel(self, which: int | str, image: Any = None, cell: int = 256) -> Image.Image:
        """Draw the maps of a picture side by side: a row for each target, a column for each method.

        Args:
            which: a position or id.
            image: the picture; by default, it is read from its path.
            cell: length of a picture's shorter side, in pixels.

        Raises:
            InputError: it has no maps, or no picture to draw them over.
            ImageError: its picture cannot be read any more.
        """
        row = self.row(which)
        if row.get("reason"):
            raise InputError(f"{row.get('id', which)!r} has no maps: {row['reason']}")
        if image is None and row["path"] is None:
            raise InputError(f"{row['id']!r} lies in no file; pass image, the picture itself")
        position = row["position"]
        return panel(
            read_image(row["path"]) if image is None else image,
            {_heading(name): array[position] for name, array in self.arrays.items()},
            self._titles(row),
            [f"score {score:.3g}" for score in row["scores"]],
            title=row["id"],
            box=row["box"],
            cell=cell,
        )

    def _titles(self, row: Mapping[str, Any]) -> list[str]:
        """Return the name of the class of each target of a picture."""
        if row["targets"] is None:
            return list(self.targets)
        names = self.record["model_class_names"] or []
        return [names[one] if 0 <= one < len(names) else f"class {one}" for one in row["targets"]]

    def _checked(self, position: int) -> int:
        if not -len(self) <= position < len(self):
            raise IndexError(f"position {position} is out of range for {len(self)} pictures")
        return position % len(self)

    @cached_property
    def _row_of(self) -> np.ndarray:
        """The row of each position in the table; -1 where its shard is not done."""
        rows = np.full(len(self), -1)
        rows[self.rows.column("position").to_numpy()] = np.arange(self.rows.num_rows)
        return rows

    def _numbers(self, column: str) -> np.ndarray:
        known = self._known.get(column)
        if known is None:
            known = self._known[column] = self._dense(column)
        return known

    @cached_property
    def _known(self) -> dict[str, np.ndarray]:
        return {}

    def _dense(self, column: str) -> np.ndarray:
        """Return a column of lists as an array, with NaN for those that are missing."""
        lists = self.rows.column(column).combine_chunks()
        found = np.full((len(lists), len(self.targets)), np.nan)
        present = lists.is_valid().to_numpy(zero_copy_only=False)
        found[present] = lists.flatten().to_numpy().reshape(-1, len(self.targets))
        return found


def open_maps(path: str | Path) -> Maps:
    """Open the store that :func:`run` or `torchattr run` wrote, also while it is being written.

    It shows the shards that were done when its table was first read.

    Raises:
        FolderError: the folder is no such store.
        PackageError: Zarr or PyArrow is not installed.

    >>> import tempfile, torchattr as ta
    >>> from torchattr.models.collage import examples
    >>> folder, out = examples()[0].path.parent, tempfile.mkdtemp() + "/maps.zarr"
    >>> _ = ta.run("demo", folder, "saliency", out=out, workers=0, watch=lambda progress: None)
    >>> maps = ta.open_maps(out)
    >>> len(maps), maps.row("astronaut_cat.jpg")["position"], maps[0]["maps"]["saliency"].shape[0]
    (4, 0, 1)
    """
    return Maps(path)


def is_maps(path: str | Path) -> bool:
    """Whether a path is a group of Zarr, as a store of maps is.

    >>> is_maps("photo.jpg")
    False
    """
    return (expanded(path, InputError) / METADATA).is_file()


def _heading(name: str) -> str:
    return name.replace("/", " ")
