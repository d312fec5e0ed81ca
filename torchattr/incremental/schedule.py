"""Schedule which calls of a model run on changed pixels and which run densely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torchattr.incremental.function_sets import CannotLower, name_of
from torchattr.incremental.fuse import fold_norms, fuse
from torchattr.incremental.grid import Grid, plain_grid
from torchattr.incremental.lower import lower_entry
from torchattr.incremental.operators.operator import Operator
from torchattr.incremental.tape import Tape
from torchattr.kernels import Boxes


@dataclass(frozen=True)
class LoweredTape:
    """A tape, lowered as far as possible.

    Attributes:
        tape: the tape.
        sources: the grids of the inputs that are batches of images.
        operators: for each entry the operators that compute it; empty if it is not lowered.
        reasons: for each entry that is not lowered, why.
    """

    tape: Tape
    sources: Mapping[int, Grid]
    operators: Sequence[Sequence[Operator]]
    reasons: Mapping[int, str]


def lower_tape(tape: Tape, inputs: int) -> LoweredTape:
    """Lower a tape whose first values are the inputs."""
    grids_of_inputs = {index: plain_grid(tape.values[index].shape) for index in range(inputs)}
    sources = {
        index: grid
        for index, grid in grids_of_inputs.items()
        if grid is not None and index not in tape.lost
    }
    grids, operators, reasons = dict(sources), [], {}
    for position, entry in enumerate(tape.entries):
        try:
            steps = lower_entry(entry, tape, grids)
        except CannotLower as error:
            steps, reasons[position] = [], str(error)
        except Exception as error:  # noqa: BLE001 - a call that fails to lower runs densely
            name, why = name_of(entry.function), f"{type(error).__name__}: {error}"
            steps, reasons[position] = [], f"{name} could not be lowered ({why})"
        operators.append(steps)
        grids.update({step.output: step.grid for step in steps})
    return LoweredTape(tape, sources, operators, reasons)


class Schedule:
    """Incremental computation of a model up to some entry, and dense computation from there.

    Args:
        lowered: the lowered tape.
        cut: the first entry from which everything is computed densely.

    Attributes:
        operators: the operators to run, in order, fused and without dead ones.
        followed: the entries that they compute.
        grids: those of all values that are computed incrementally.
        frontier: the incremental values that dense calls read.
        last_uses: for each operator, whether it is the last to read each of its inputs.
    """

    def __init__(self, lowered: LoweredTape, cut: int) -> None:
        self.lowered = lowered
        steps = [step for entry in lowered.operators[:cut] for step in entry]
        self.grids = {**lowered.sources, **{step.output: step.grid for step in steps}}
        self.followed = frozenset(
            position for position, entry in enumerate(lowered.operators[:cut]) if entry
        )
        self.frontier = self._frontier()
        self.operators = _without_dead(fuse(steps, lowered.tape.values), self.frontier)
        self.last_uses = self._last_uses()

    @property
    def is_possible(self) -> bool:
        """Whether the clean values that it needs were kept on the tape."""
        values = self.lowered.tape.values
        return all(values[index].clean is not None for index in self.frontier)

    @property
    def saves(self) -> bool:
        """Whether any operator is left to run incrementally."""
        return bool(self.operators)

    def boxes(self, sources: Mapping[int, Boxes]) -> dict[int, Boxes]:
        """Return where every incremental value changes, from where the inputs do."""
        boxes = dict(sources)
        for step in self.operators:
            boxes[step.output] = step.boxes([boxes[index] for index in step.inputs])
        return boxes

    def loads(self, boxes: Mapping[int, Boxes]) -> list[tuple[int, int]]:
        """Return for each operator the bytes of live values, and those to pack its weights.

        Args:
            boxes: those of every incremental value.
        """
        sizes = {index: one.rows * self._pixel_bytes(index) for index, one in boxes.items()}
        live, dense, loads = set(self.lowered.sources), 0, []
        for step, last_uses in zip(self.operators, self.last_uses, strict=True):
            live.add(step.output)
            loads.append((dense + sum(sizes[index] for index in live), step.packing_bytes))
            live -= {index for index, last in zip(step.inputs, last_uses, strict=True) if last}
            if step.output in self.frontier:
                whole = len(boxes[step.output]) * self.grids[step.output].pixels
                dense += whole * self._pixel_bytes(step.output)
        variants = max(map(len, boxes.values()), default=0)
        return [*loads, (dense + variants * self._whole_bytes(), 0)]

    @property
    def largest_whole(self) -> int:
        """Number of elements that a variant has in the largest value that is computed densely."""
        return max((elements for elements, _ in self._whole()), default=0)

    def _whole_bytes(self) -> int:
        """Return about how many bytes a variant needs for the calls that are computed densely.

        They read the frontier, and few of their values are needed at a time.
        """
        sizes = [elements * item for elements, item in self._whole()]
        return min(sum(sizes), 4 * max(sizes, default=0))

    def _whole(self) -> list[tuple[int, int]]:
        """Return elements per variant, and bytes of one, of each value computed densely."""
        entries, values = self.lowered.tape.entries, self.lowered.tape.values
        batch = values[0].shape[0] if values[0].shape else 1
        return [
            (values[index].shape.numel() // max(batch, 1), values[index].dtype.itemsize)
            for position, entry in enumerate(entries)
            if position not in self.followed
            for index in entry.outputs
        ]

    def release(self) -> None:
        """Release the clean values that no operator reads."""
        consumed = {*self.frontier, *self.lowered.sources}
        consumed.update(index for step in self.operators for index in step.inputs)
        for index, value in enumerate(self.lowered.tape.values):
            if index not in consumed:
                value.clean = None

    def fold(self) -> None:
        """Fold batch-norms into the weights of convolutions, which only running them needs."""
        self.operators = fold_norms(self.operators)

    @property
    def clean_bytes(self) -> int:
        """Bytes of the clean values that are kept."""
        held = (value.clean for value in self.lowered.tape.values)
        return sum(clean.nbytes for clean in held if clean is not None)

    def _pixel_bytes(self, index: int) -> int:
        return self.grids[index].channels * self.lowered.tape.values[index].dtype.itemsize

    def _frontier(self) -> frozenset[int]:
        consumed = Counter(
            index
            for position in self.followed
            for index in self.lowered.tape.entries[position].inputs
        )
        values = self.lowered.tape.values
        return frozenset(index for index in self.grids if values[index].readers > consumed[index])

    def _last_uses(self) -> list[list[bool]]:
        """Find, from the end, the last use of each value."""
        consumed = set(self.frontier)
        last_uses = []
        for step in reversed(self.operators):
            last_uses.append([index not in consumed for index in step.inputs])
            consumed.update(step.inputs)
        return last_uses[::-1]


def _without_dead(operators: Sequence[Operator], wanted: frozenset[int]) -> list[Operator]:
    """Eliminate operators that no wanted value depends on."""
    needed, kept = set(wanted), []
    for step in reversed(operators):
        if step.output in needed:
            kept.append(step)
            needed.update(step.inputs)
    return kept[::-1]


def fallback_reasons(lowered: LoweredTape, cut: int) -> list[str]:
    """Return why calls are computed densely, each reason once."""
    entries = lowered.tape.entries
    reasons = Counter(
        reason
        for position, reason in sorted(lowered.reasons.items())
        if position < cut and "computed densely" not in reason
    )
    if cut < len(entries):
        reasons[f"from {name_of(entries[cut].function)} on, dense computation is cheaper"] += 1
    return list(reasons)
