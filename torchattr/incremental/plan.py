"""Plans: what following a change through a network takes, kept for the next call.

A plan holds decisions, shapes and tables of boxes: no value of an image, and no weight. It belongs
to a model and is found by the signature of its tape, so a model that changes finds another one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from torchattr.core.by_model import ByModel
from torchattr.incremental.arguments import tensors_in
from torchattr.incremental.function_sets import name_of
from torchattr.incremental.schedule import LoweredTape, Schedule
from torchattr.kernels import IMAGE, Boxes

MOST_PLANS = 8
"""Maximum number of plans kept for a model."""
MOST_ROWS = 2**23
"""Maximum number of pixels in the tables that a plan keeps; backends hold a few bytes for each."""


@dataclass(frozen=True)
class Recomputed:
    """How much of a model was recomputed on changed pixels only.

    Attributes:
        followed: number of the model's calls computed on changed pixels.
        whole: number of calls computed densely.
        saved: the share of the dense time that the cost model expects to save; with
            `incremental=True`, where nothing is measured, by typical rates.
        reasons: why the other calls were computed densely.
    """

    followed: int
    whole: int
    saved: float
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.followed:
            why = "; ".join(self.reasons) or "the model made no call that can be recorded"
            return f"nothing could be saved: {why}"
        because = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return (
            f"{self.followed} calls on changed pixels, {self.whole} as a whole{because};"
            f" about {self.saved:.0%} of the time saved"
        )


@dataclass(frozen=True)
class ChunkBoxes:
    """The boxes of a chunk of variants.

    Attributes:
        changed: where each incremental value changes.
        whole: boxes that cover all of each value of the frontier.
    """

    changed: Mapping[int, Boxes]
    whole: Mapping[int, Boxes]

    @property
    def rows(self) -> int:
        """Number of pixels of all boxes."""
        return sum(boxes.rows for one in (self.changed, self.whole) for boxes in one.values())


@dataclass(frozen=True)
class Plan:
    """How a network is computed incrementally, and the boxes of its latest chunks.

    Attributes:
        cut: the first entry of the tape that is computed densely.
        recomputed: how much is computed incrementally.
    """

    cut: int
    recomputed: Recomputed
    _chunks: OrderedDict[Hashable, ChunkBoxes] = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def boxes(self, schedule: Schedule, sources: Mapping[int, Boxes]) -> ChunkBoxes:
        """Return the boxes of all values, always the same objects for the same sources.

        Args:
            schedule: that of `cut`.
            sources: where the inputs change.
        """
        key = positions(sources)
        with self._lock:
            if key in self._chunks:
                self._chunks.move_to_end(key)
                return self._chunks[key]
        made = _boxes(schedule, sources)
        with self._lock:
            self._chunks[key] = made
            while sum(chunk.rows for chunk in self._chunks.values()) > MOST_ROWS:
                self._chunks.popitem(last=False)
        return made


def _boxes(schedule: Schedule, sources: Mapping[int, Boxes]) -> ChunkBoxes:
    changed = schedule.boxes(sources)
    whole = {
        index: Boxes.whole(boxes.table[:, IMAGE], grid.height, grid.width)
        for index, boxes in changed.items()
        if index in schedule.frontier
        for grid in (schedule.grids[index],)
    }
    return ChunkBoxes(changed, whole)


def positions(sources: Mapping[int, Boxes]) -> Hashable:
    """Return a key of where the inputs change."""
    return tuple((index, boxes.table.tobytes()) for index, boxes in sources.items())


def signature(lowered: LoweredTape) -> Hashable:
    """Return all that a plan depends on: calls, operators, shapes, dtypes and uses of values."""
    tape = lowered.tape
    values = (
        (tuple(value.shape), value.dtype, value.readers, value.clean is None)
        for value in tape.values
    )
    entries = (
        (
            name_of(entry.function),
            entry.inputs,
            entry.outputs,
            tuple(tuple(tensor.shape) for tensor in tensors_in((entry.args, entry.kwargs))),
            tuple((type(step), step.inputs, step.output, step.grid, step.reach) for step in steps),
        )
        for entry, steps in zip(tape.entries, lowered.operators, strict=True)
    )
    return tuple(lowered.sources.items()), tuple(values), tuple(entries)


_plans = ByModel[OrderedDict[Hashable, Plan]]()
_lock = Lock()


def plan_of(model: Any, key: Hashable, make: Callable[[], Plan]) -> Plan:
    """Return the plan that is kept for a model under a key, or else make it.

    Args:
        model: the model or its method; a plan lives no longer than it.
        key: all that the plan depends on.
        make: makes the plan.
    """
    with _lock:
        kept = _plans.setdefault(model, OrderedDict())
        if key in kept:
            kept.move_to_end(key)
            return kept[key]
    made = make()
    with _lock:
        kept = _plans.setdefault(model, OrderedDict())
        kept[key] = made
        if len(kept) > MOST_PLANS:
            kept.popitem(last=False)
    return made
