"""The content of one shard while its batches arrive: values of arrays, and rows of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from torchattr.bulk import packages
from torchattr.bulk.explaining import ExplainedBatch
from torchattr.bulk.reading import ReadBatch
from torchattr.bulk.store import MapStore
from torchattr.bulk.tables import encoded

NOT_FINITE = "its scores or maps hold NaN or infinite values"


@dataclass(frozen=True, eq=False)
class DoneBatch:
    """A batch that was read and explained.

    Attributes:
        shard: the one that all its pictures are of.
        read: the pictures.
        explained: the maps of those that could be read; `None` if none could.
        ids, paths, labels: of all its pictures.
        at_once: number of pictures that were explained at once.
        device: where.
    """

    shard: int
    read: ReadBatch
    explained: ExplainedBatch | None
    ids: Sequence[str]
    paths: Sequence[str | None]
    labels: Sequence[int | None]
    at_once: int
    device: str

    def on_cpu(self) -> DoneBatch:
        """Return the same on the CPU; wait until the device has computed it."""
        explained = None if self.explained is None else self.explained.on_cpu()
        return replace(self, explained=explained)


class ShardContent:
    """What is written of a shard.

    Args:
        store: where it is written to.
        shard: its number.
    """

    def __init__(self, store: MapStore, shard: int) -> None:
        self.shard = shard
        self._store = store
        self._first = store.shards.positions(shard).start
        count = len(store.shards.positions(shard))
        self._values = {
            one.name: np.full((count, *one.shape), one.encoding.fill, one.encoding.dtype)
            for one in store.arrays
        }
        self._rows: list[dict[str, Any]] = []

    @property
    def is_complete(self) -> bool:
        """Whether all its batches have arrived."""
        return len(self._rows) == len(self._store.shards.positions(self.shard))

    def add(self, batch: DoneBatch, seconds: float) -> None:
        """Add the next batch.

        seconds: how long each of its pictures took.
        """
        rows = [_row(batch, place, seconds) for place in range(len(batch.read.positions))]
        if batch.explained is not None:
            self._add_maps(batch, batch.explained, rows)
        self._rows += rows

    def _add_maps(
        self, batch: DoneBatch, explained: ExplainedBatch, rows: list[dict[str, Any]]
    ) -> None:
        start = batch.read.positions[0] - self._first
        places = np.array(batch.read.good)
        finite = _as_array(explained.finite)
        kept = places[finite]
        for name, maps in explained.maps.items():
            self._values[name][start + kept] = _as_array(maps.values)[finite]
            for row, place in enumerate(places):
                if finite[row] and maps.scale is not None and maps.zero is not None:
                    rows[place][f"scale/{name}"] = maps.scale[row].tolist()
                    rows[place][f"zero/{name}"] = maps.zero[row].tolist()
        for row, place in enumerate(places):
            rows[place].update(
                _of_picture(explained, row) if finite[row] else {"reason": NOT_FINITE}
            )

    def write(self) -> None:
        """Write it, which makes the shard done.

        Raises:
            FolderError: it cannot be written.
        """
        self._store.write(self.shard, self._values, encoded(self._rows, schema_of(self._store)))


def schema_of(store: MapStore) -> Any:
    """Return the columns of a store's table and their types."""
    arrow = packages.arrow()
    scaled = [one.name for one in store.arrays if one.encoding.is_scaled]
    return arrow.schema(
        {
            "position": arrow.int64(),
            "id": arrow.string(),
            "path": arrow.string(),
            "label": arrow.int64(),
            "width": arrow.int32(),
            "height": arrow.int32(),
            "box": arrow.list_(arrow.float64()),
            "targets": arrow.list_(arrow.int64()),
            "scores": arrow.list_(arrow.float32()),
            "predicted": arrow.int64(),
            "seconds": arrow.float32(),
            "at_once": arrow.int32(),
            "device": arrow.string(),
            "reason": arrow.string(),
            **{f"scale/{name}": arrow.list_(arrow.float32()) for name in scaled},
            **{f"zero/{name}": arrow.list_(arrow.float32()) for name in scaled},
        }.items()
    )


def _row(batch: DoneBatch, place: int, seconds: float) -> dict[str, Any]:
    picture = batch.read.pictures[place]
    width, height = picture.size or (None, None)
    return {
        "position": batch.read.positions[place],
        "id": batch.ids[place],
        "path": batch.paths[place],
        "label": batch.labels[place],
        "width": width,
        "height": height,
        "box": None if picture.box is None else list(picture.box),
        "seconds": seconds,
        "at_once": batch.at_once,
        "device": batch.device,
        "reason": picture.reason,
    }


def _of_picture(explained: ExplainedBatch, row: int) -> Mapping[str, Any]:
    targets, predicted = explained.targets, explained.predicted
    return {
        "scores": explained.scores[row].float().tolist(),
        "targets": None if targets is None else targets[row].tolist(),
        "predicted": None if predicted is None else int(predicted[row]),
    }


def _as_array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()
