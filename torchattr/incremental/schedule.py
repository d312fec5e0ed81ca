"""What of a model is followed on changed pixels, what is computed as a whole, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torchattr.incremental.function_sets import Unreadable, name_of
from torchattr.incremental.fusing import fused
from torchattr.incremental.grids import Grid, plain_grid
from torchattr.incremental.lower import lower
from torchattr.incremental.operators.operator import Operator
from torchattr.incremental.tape import Tape
from torchattr.kernels import Boxes


@dataclass(frozen=True)
class LoweredTape:
    """A tape, read as far as it can be.

    Attributes:
        tape: what was read.
        sources: the grids of those inputs that can be followed.
        operators: for each entry what it does to changed pixels; none if that is not known.
        reasons: for each entry that is not read, why.
    """

    tape: Tape
    sources: Mapping[int, Grid]
    operators: Sequence[Sequence[Operator]]
    reasons: Mapping[int, str]


def lowered(tape: Tape, inputs: int) -> LoweredTape:
    """Read a tape whose first values are so many inputs."""
    found = {index: plain_grid(tape.values[index].shape) for index in range(inputs)}
    sources = {
        index: grid for index, grid in found.items() if grid is not None and index not in tape.lost
    }
    grids, operators, reasons = dict(sources), [], {}
    for position, entry in enumerate(tape.entries):
        try:
            steps = lower(entry, tape, grids)
        except Unreadable as error:
            steps, reasons[position] = [], str(error)
        except Exception as error:  # noqa: BLE001 - any model may come, and no call is a must
            name, why = name_of(entry.function), f"{type(error).__name__}: {error}"
            steps, reasons[position] = [], f"{name} could not be read ({why})"
        operators.append(steps)
        grids.update({step.output: step.grid for step in steps})
    return LoweredTape(tape, sources, operators, reasons)


class Schedule:
    """A way to compute a model for changed pixels up to some call, and as a whole from there.

    Args:
        reading: the tape.
        cut: the entry from which on everything is computed as a whole.

    Attributes:
        operators: the steps on changed pixels, in their order.
        followed: the entries that these steps stand for.
        grids: of every value that is followed.
        frontier: the followed values that are needed as a whole.
        last: for each step, which of its inputs nobody reads afterwards.
    """

    def __init__(self, lowered: LoweredTape, cut: int) -> None:
        self.lowered = lowered
        steps = [step for entry in lowered.operators[:cut] for step in entry]
        self.grids = {**lowered.sources, **{step.output: step.grid for step in steps}}
        self.followed = frozenset(
            position for position, entry in enumerate(lowered.operators[:cut]) if entry
        )
        self.frontier = self._frontier()
        self.operators = _needed(fused(steps, lowered.tape.values), self.frontier)
        self.last = self._last()

    @property
    def is_possible(self) -> bool:
        """Whether the clean values that it needs were kept."""
        values = self.lowered.tape.values
        return all(values[index].clean is not None for index in self.frontier)

    @property
    def saves(self) -> bool:
        """Whether anything is followed beyond the inputs."""
        return bool(self.operators)

    def boxes(self, sources: Mapping[int, Boxes]) -> dict[int, Boxes]:
        """Return where every followed value changes, from where the inputs do."""
        found = dict(sources)
        for step in self.operators:
            found[step.output] = step.boxes([found[index] for index in step.inputs])
        return found

    def loads(self, boxes: Mapping[int, Boxes]) -> list[tuple[int, int]]:
        """Return for each step the bytes that variants with these boxes, and that its weights, need.

        Args:
            boxes: those of every value that is followed.
        """
        sizes = {index: one.rows * self._pixel_bytes(index) for index, one in boxes.items()}
        live, handed, found = set(self.lowered.sources), 0, []
        for step, last in zip(self.operators, self.last, strict=True):
            live.add(step.output)
            found.append((handed + sum(sizes[index] for index in live), step.packing_bytes))
            live -= {index for index, over in zip(step.inputs, last, strict=True) if over}
            if step.output in self.frontier:
                whole = len(boxes[step.output]) * self.grids[step.output].pixels
                handed += whole * self._pixel_bytes(step.output)
        return [*found, (handed, 0)]

    def release(self) -> None:
        """Drop the clean values that no step reads."""
        lower = {*self.frontier, *self.lowered.sources}
        lower.update(index for step in self.operators for index in step.inputs)
        for index, value in enumerate(self.lowered.tape.values):
            if index not in lower:
                value.clean = None

    @property
    def clean_bytes(self) -> int:
        """The bytes of the clean values that are kept."""
        held = (value.clean for value in self.lowered.tape.values)
        return sum(clean.nbytes for clean in held if clean is not None)

    def _pixel_bytes(self, index: int) -> int:
        return self.grids[index].channels * self.lowered.tape.values[index].dtype.itemsize

    def _frontier(self) -> frozenset[int]:
        lower = Counter(
            index
            for position in self.followed
            for index in self.lowered.tape.entries[position].inputs
        )
        values = self.lowered.tape.values
        return frozenset(index for index in self.grids if values[index].readers > lower[index])

    def _last(self) -> list[list[bool]]:
        """Say, from the end, which reading of a value is its last."""
        lower = set(self.frontier)
        found = []
        for step in reversed(self.operators):
            found.append([index not in lower for index in step.inputs])
            lower.update(step.inputs)
        return found[::-1]


def _needed(operators: Sequence[Operator], wanted: frozenset[int]) -> list[Operator]:
    """Leave out what leads to nothing that is wanted."""
    needed, kept = set(wanted), []
    for step in reversed(operators):
        if step.output in needed:
            kept.append(step)
            needed.update(step.inputs)
    return kept[::-1]


def fallback_reasons(lowered: LoweredTape, cut: int) -> list[str]:
    """Return what is computed as a whole before the cut, and why, each reason once."""
    entries = lowered.tape.entries
    reasons = Counter(
        reason
        for position, reason in sorted(lowered.reasons.items())
        if position < cut and "computed as a whole" not in reason
    )
    if cut < len(entries):
        reasons[f"from {name_of(entries[cut].function)} on, the whole is cheaper"] += 1
    return list(reasons)
