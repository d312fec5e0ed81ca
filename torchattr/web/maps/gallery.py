"""A store of maps as pages of pictures, of which some are shown."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np

from torchattr.bulk import Maps

Shown: TypeAlias = "Literal['all', 'done', 'failed']"
"""Which pictures are shown: all whose shard is done, those with maps, or those without."""

_REMEMBERED = 16


@dataclass(frozen=True, eq=False)
class Gallery:
    """The pages of a store.

    maps: the store; what is done while it is shown is not among the pages.
    """

    maps: Maps

    def about(self) -> dict[str, Any]:
        """Return what the store holds, as plain data."""
        record = self.maps.record
        return {
            "name": record["model"],
            "pictures": len(self.maps),
            "done": len(self._positions),
            "failed": len(self._positions) - len(self.maps.finished),
            "arrays": {name: list(one.shape[1:]) for name, one in self.maps.arrays.items()},
            "targets": list(self.maps.targets),
        }

    def page(self, shown: Shown, text: str, start: int, count: int) -> dict[str, Any]:
        """Return the pictures from the `start`-th on that are shown, and the number of all."""
        found = self._found(shown, text)
        rows = [self._picture(int(position)) for position in found[start : start + count]]
        return {"total": len(found), "pictures": rows}

    def panel(self, position: int, cell: int) -> bytes:
        """Return the maps of a picture side by side as PNG.

        Raises:
            InputError: it has no maps, or lies in no file.
            ImageError: its file cannot be read any more.
        """
        file = io.BytesIO()
        self.maps.panel(position, cell=cell).save(file, "PNG", compress_level=3)
        return file.getvalue()

    @cached_property
    def _positions(self) -> np.ndarray:
        return np.asarray(self.maps.rows.column("position").to_numpy())

    @cached_property
    def _ids(self) -> np.ndarray:
        return np.asarray(self.maps.rows.column("id").to_numpy()).astype(str)

    @cached_property
    def _found(self) -> Any:
        # Turning a page asks for the same pictures again.
        return lru_cache(_REMEMBERED)(self._find)

    def _find(self, shown: Shown, text: str) -> np.ndarray:
        chosen = np.ones(len(self._positions), bool)
        if shown != "all":
            chosen = np.isin(self._positions, self.maps.finished) == (shown == "done")
        if text:
            chosen &= np.char.find(np.char.lower(self._ids), text.lower()) >= 0
        return np.sort(self._positions[chosen])

    def _picture(self, position: int) -> dict[str, Any]:
        row, record = self.maps.row(position), self.maps.record
        return {
            "position": position,
            "id": row["id"],
            "reason": row["reason"],
            "label": _named(row["label"], record["class_names"]),
            "targets": self._targets(row),
        }

    def _targets(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the name and the score of each target; none where there are no maps."""
        names = self.maps.record["model_class_names"]
        titles = self.maps.targets
        if row["targets"] is not None:
            titles = [_named(one, names) or "" for one in row["targets"]]
        scores = row["scores"] or ()
        return [{"name": name, "score": score} for name, score in zip(titles, scores, strict=False)]


def _named(index: int | None, names: Sequence[str] | None) -> str | None:
    if index is None:
        return None
    return names[index] if names is not None and 0 <= index < len(names) else f"class {index}"
