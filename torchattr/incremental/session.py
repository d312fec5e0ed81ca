"""Running a model on changed copies of its inputs, recomputing only what the change can reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from types import MethodType
from typing import Any, Literal

import torch
from torch import Tensor

from torchattr.core.torch_private import DisableTorchFunction
from torchattr.core.types import Forward
from torchattr.core.undoing import undone
from torchattr.incremental.cost import USUAL, Rates, estimates, rates
from torchattr.incremental.execute import Allowance, Clean, run
from torchattr.incremental.operators.operator import Changed
from torchattr.incremental.replay import Diverged, Replay
from torchattr.incremental.schedule import LoweredTape, Schedule, fallback_reasons, lowered
from torchattr.incremental.tape import Tape, TapeMode
from torchattr.kernels import Backend, Boxes, Request, choose, requested_backend
from torchattr.layers import Trace, enter_mode

__all__ = ["Change", "Diverged", "Incremental", "Mode", "Recomputed", "TapeRecorder"]

Mode = bool | Literal["auto"]


SHARE_OF_PIXELS = 0.85
"""Of the memory, for changed pixels; the rest is for weights as a backend wants them."""
SCRATCH = 12 * 2**20
"""Bytes that each thread of a backend works in, about."""
LEAST = 8
"""So many variants are run at once whatever they need; if memory runs out, they are halved."""


@dataclass(frozen=True)
class Recomputed:
    """What a call recomputed for changed pixels only, and what as a whole.

    Attributes:
        followed: how many calls of the model were followed on changed pixels.
        whole: how many were computed as a whole.
        saved: the share of the time of whole forwards that the cost model expects to save; where
            everything was followed unasked for its cost, with the speed of no machine in
            particular.
        reasons: why the rest was computed as a whole.
    """

    followed: int
    whole: int
    saved: float
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.followed:
            why = "; ".join(self.reasons) or "no call of the model was seen"
            return f"nothing could be saved: {why}"
        because = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return (
            f"{self.followed} calls on changed pixels, {self.whole} as a whole{because};"
            f" about {self.saved:.0%} of the time saved"
        )


@dataclass(frozen=True)
class Change:
    """How the copies of one input differ from it.

    Attributes:
        boxes: where, if the input is a batch of pictures.
        rows: gives the pixels inside the boxes.
        whole: gives the copies themselves.
    """

    boxes: Boxes | None
    rows: Callable[[], Tensor]
    whole: Callable[[], Tensor]


class TapeRecorder:
    """Lets models write a tape of their run.

    Args:
        inputs: how many of their first arguments will change.
        most: bytes of clean values that are kept; where there are more, there is no tape.
    """

    def __init__(self, inputs: int, most: float = inf) -> None:
        self._inputs = inputs
        self._most = most
        self._tape: Tape | None = None

    def around(self, model: Forward) -> Forward:
        """Return a model that does the same, and is recorded."""

        def record(run_model: Callable[..., Any], args: Sequence[Any]) -> Any:
            recording = TapeMode(args[: self._inputs], self._most)
            with undone() as undo:
                enter_mode(undo, recording)
                output = run_model(*args)
            recording.finish(output)
            self._tape = None if recording.is_full else recording.tape
            return output

        return _around(model, record)

    def take(self) -> Tape | None:
        """Return the tape of the last run away: it holds memory, and is used up."""
        tape, self._tape = self._tape, None
        return tape


class Incremental:
    """A model's clean forward, and what of it can be kept when parts of the inputs change.

    Args:
        model: the module or function to run.
        inputs: the batch as it is.
        arguments: further positional arguments of the model.
        mode: follow changes as far as possible (`True`), or as far as it pays (`"auto"`).
        boxes: for each input where a sample of the variants change it; `None` if it is no batch
            of pictures.
        at_once: how many variants will run together.
        tape: that of a forward of these inputs and arguments, if there was one; it is used up.

    Attributes:
        recomputed: what is followed.
    """

    def __init__(
        self,
        model: Forward,
        inputs: Sequence[Tensor],
        arguments: Sequence[Any],
        mode: Mode,
        boxes: Sequence[Boxes | None],
        at_once: int,
        tape: Tape | None = None,
    ) -> None:
        self._device, dtype = inputs[0].device, inputs[0].dtype
        self._backend: Backend = choose(Request(self._device, dtype), requested_backend())
        read = lowered(tape or _recorded(model, inputs, arguments), len(inputs))
        sources = _of_pictures(boxes, read)
        self._plan, self.recomputed = self._chosen(read, mode, sources, at_once)
        self._plan.release()
        self._clean = Clean(self._plan)
        self._allowance = Allowance(0)

    @property
    def saves(self) -> bool:
        """Whether anything is followed."""
        return bool(self._plan.operators)

    def settle(self, boxes: Sequence[Boxes | None], allowed: int, most: int) -> int:
        """Return how many variants to run at once, and keep within that memory from now on.

        Args:
            boxes: those of a sample of the variants.
            allowed: bytes for clean values, changed pixels and packed weights together.
            most: more variants than these at once are no faster.
        """
        sources = self._sources_in(boxes)
        sample = max(len(one) for one in sources.values())
        loads = self._plan.loads(self._plan.boxes(sources))
        left = allowed - self._plan.clean_bytes - SCRATCH * torch.get_num_threads()
        fits = [
            (SHARE_OF_PIXELS * left - packing) * sample / max(pixels, 1)
            for pixels, packing in loads
        ]
        size = max(int(min(*fits, most)), LEAST)
        used = max(pixels * size // sample + packing for pixels, packing in loads)
        self._allowance = Allowance(max(left - used, 0))
        return size

    def around(self, model: Forward, changes: Sequence[Change], copies: int) -> Forward:
        """Return a function of the further arguments that runs a model on copies of the batch.

        Args:
            model: the model itself.
            changes: how the copies of each input differ from it.
            copies: how many there are.

        Raises:
            Diverged: when run, if the model runs otherwise than it did with the clean batch.
        """
        sources = self._sources_in([change.boxes for change in changes])

        def known() -> dict[int, Tensor]:
            # None of these calls is the model's.
            with DisableTorchFunction():
                given = {i: self._changed(i, changes[i], box) for i, box in sources.items()}
                return run(self._plan, self._clean, given, self._backend, self._allowance)

        def replayed(run_model: Callable[..., Any], args: Sequence[Any]) -> Any:
            whole = [change.whole for change in changes]
            replay = Replay(self._plan, copies, self._device, known, whole)
            entered = [
                replay.placeholder(i) if i in sources else change.whole()
                for i, change in enumerate(changes)
            ]
            with undone() as undo:
                enter_mode(undo, replay)
                output = run_model(*entered, *args)
            return replay.whole(output)

        return _around(model, replayed)

    def _sources_in(self, boxes: Sequence[Boxes | None]) -> dict[int, Boxes]:
        return _of_pictures(boxes, self._plan.lowered)

    def _changed(self, index: int, change: Change, boxes: Boxes) -> Changed:
        grid = self._plan.grids[index]
        return Changed(grid, change.rows(), boxes, lambda: self._clean(index))

    def _chosen(
        self, read: LoweredTape, mode: Mode, sources: dict[int, Boxes], at_once: int
    ) -> tuple[Schedule, Recomputed]:
        everything = len(read.operators)
        unusable = read.tape.failed or (ALIASED if read.tape.aliased else "")
        if unusable:
            return Schedule(read, 0), Recomputed(0, everything, 0.0, (unusable,))
        if not sources:
            return Schedule(read, 0), Recomputed(0, everything, 0.0, (NO_PICTURE,))
        ways = estimates(read, sources, self._rates(read, mode), at_once)
        if mode is True:
            ways.sort(key=lambda way: -way.cut)
        for way in ways:
            plan = Schedule(read, way.cut)
            if plan.is_possible:
                break
        followed = len(plan.followed) if plan.saves else 0
        saved = max(1 - way.seconds / way.whole, 0.0) if way.whole and followed else 0.0
        reasons = tuple(fallback_reasons(read, way.cut))
        return plan, Recomputed(followed, everything - followed, saved, reasons)

    def _rates(self, read: LoweredTape, mode: Mode) -> Rates:
        if mode is True:
            return USUAL
        dtype = read.tape.values[0].dtype
        return rates(self._backend, dtype, self._device, torch.get_num_threads())


ALIASED = "the model writes over a tensor that another one shows"
NO_PICTURE = "no input that changes is a batch of pictures (N, C, H, W)"


def _recorded(model: Forward, inputs: Sequence[Tensor], arguments: Sequence[Any]) -> Tape:
    """Run a model on the clean batch and give the tape of it."""
    recorder = TapeRecorder(len(inputs))
    nothing = torch.empty(0)
    Trace(
        recorder.around(model),
        inputs,
        arguments,
        key=lambda output: nothing,
        differentiable=False,
    )
    tape = recorder.take()
    if tape is None:
        raise RuntimeError("the model's run was not recorded")
    return tape


def _around(model: Forward, run: Callable[[Callable[..., Any], Sequence[Any]], Any]) -> Forward:
    """Return a model that is run by `run`; it stays a method of its module, whose parts are known."""

    def forward(owner: Any, *args: Any) -> Any:
        return run(model, args)

    return MethodType(forward, getattr(model, "__self__", model))


def _of_pictures(boxes: Sequence[Boxes | None], read: LoweredTape) -> dict[int, Boxes]:
    found = {index: boxes[index] for index in read.sources}
    return {index: box for index, box in found.items() if box is not None}
