"""Run a model on changed copies of its inputs, recomputing only what the change can reach."""

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
from torchattr.incremental.cost import USUAL, Estimate, Rates, estimates, precision, rates
from torchattr.incremental.execute import Allowance, CleanValues, run
from torchattr.incremental.following import Following
from torchattr.incremental.plan import Plan, Recomputed, plan_of, positions, signature
from torchattr.incremental.replay import Answered, Diverged, Replay
from torchattr.incremental.schedule import LoweredTape, Schedule, fallback_reasons, lower_tape
from torchattr.incremental.tape import Tape, TapeMode
from torchattr.kernels import Boxes, PatchOperations, Request, choose_patches, requested_backend
from torchattr.layers import Trace, enter_mode

__all__ = ["Change", "Diverged", "Incremental", "Mode", "Recomputed", "TapeRecorder", "run_by"]

Mode = bool | Literal["auto"]


SHARE_OF_PIXELS = 0.85
"""Share of the memory for changed pixels; the rest is for packed weights."""
SCRATCH = 12 * 2**20
"""Approximate scratch bytes per thread of a backend for CPUs."""
LARGEST_ELEMENTS = 2**31 - 1
"""Beyond this many elements in one tensor many dense kernels fall back to slower ones, or fail."""
LEAST = 8
"""Minimum number of variants per chunk; if memory runs out, chunks are halved."""


@dataclass(frozen=True)
class Change:
    """How the copies of one input differ from it.

    Attributes:
        boxes: the changed boxes, if the input is a batch of images.
        rows: returns the pixels inside the boxes.
        whole: returns the copies.
    """

    boxes: Boxes | None
    rows: Callable[[], Tensor]
    whole: Callable[[], Tensor]


class TapeRecorder:
    """Records a model's forward to a tape.

    Args:
        inputs: number of leading arguments that will change.
        most: maximum bytes of clean values; beyond that there is no tape.
    """

    def __init__(self, inputs: int, most: float = inf) -> None:
        self._inputs = inputs
        self._most = most
        self._tape: Tape | None = None

    def around(self, model: Forward) -> Forward:
        """Return the model with recording."""

        def record(run_model: Callable[..., Any], args: Sequence[Any]) -> Any:
            recording = TapeMode(args[: self._inputs], self._most)
            with undone() as undo:
                enter_mode(undo, recording)
                output = run_model(*args)
            recording.finish(output)
            self._tape = None if recording.is_full else recording.tape
            return output

        return run_by(model, record)

    def take(self) -> Tape | None:
        """Return the tape of the last run and release it here."""
        tape, self._tape = self._tape, None
        return tape


class Incremental:
    """A model's clean forward, reused for variants of its inputs.

    Args:
        model: the module or function to run.
        inputs: the clean batch.
        arguments: further positional arguments of the model.
        mode: compute incrementally as far as possible (`True`) or as far as it is faster
            (`"auto"`).
        boxes: for each input, the boxes that a sample of the variants changes; `None` if it is not
            a batch of images.
        at_once: expected number of variants per chunk.
        tape: the tape of a forward of these inputs and arguments, if there is one; it is consumed.
        follow: whether each variant is compared with the one before it of the same image, in the
            same chunk or the last one.
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
        *,
        follow: bool = False,
    ) -> None:
        self._device, dtype = inputs[0].device, inputs[0].dtype
        self._backend: PatchOperations = choose_patches(
            Request(self._device, dtype), requested_backend()
        )
        lowered = lower_tape(tape or _recorded(model, inputs, arguments), len(inputs))
        self._plan = self._planned(model, lowered, mode, _of_images(boxes, lowered), at_once)
        self._schedule = Schedule(lowered, self._plan.cut)
        self._schedule.release()
        # These calls are not the model's: no mode may intercept them.
        with DisableTorchFunction():
            self._schedule.fold()
        self._follow = follow
        self._clean = CleanValues(self._schedule, follow=follow)
        self._allowance = Allowance(0)

    @property
    def recomputed(self) -> Recomputed:
        """How much is computed incrementally."""
        return self._plan.recomputed

    @property
    def saves(self) -> bool:
        """Whether anything is computed incrementally."""
        return bool(self._schedule.operators)

    def settle(self, boxes: Sequence[Boxes | None], allowed: int, most: int) -> int:
        """Return the number of variants per chunk that fits into memory, and budget caches by it.

        Args:
            boxes: those of a sample of the variants.
            allowed: bytes for clean values, changed pixels and packed weights together.
            most: the chunk size beyond which larger chunks are no faster.
        """
        sources = self._sources_in(boxes)
        sample = max(map(len, sources.values()))
        loads = self._schedule.loads(self._plan.boxes(self._schedule, sources).changed)
        left = allowed - self._schedule.clean_bytes - self._scratch
        # Variants that follow one another copy what surrounds their boxes, too.
        share = SHARE_OF_PIXELS / 2 if self._follow else SHARE_OF_PIXELS
        fits = [(share * left - packing) * sample / max(pixels, 1) for pixels, packing in loads]
        whole = LARGEST_ELEMENTS // max(self._schedule.largest_whole, 1)
        size = max(int(min(*fits, most, whole)), LEAST)
        used = max(pixels * size // sample + packing for pixels, packing in loads)
        self._allowance = Allowance(max(left - used, 0))
        return size

    @property
    def _scratch(self) -> int:
        return SCRATCH * torch.get_num_threads() if self._device.type == "cpu" else 0

    def around(self, model: Forward, changes: Sequence[Change], copies: int) -> Forward:
        """Return a function of the further arguments that runs a model on copies of the batch.

        Args:
            model: the model.
            changes: how the copies of each input differ from it.
            copies: number of copies.

        Raises:
            Diverged: when run, if the model does not repeat the calls of its clean forward.
        """
        sources = self._sources_in([change.boxes for change in changes])
        # A single copy follows the last chunk, which the clean values have followed already.
        backend = Following(self._backend) if self._follow and copies > 1 else self._backend

        def compute() -> dict[int, Tensor]:
            # These calls are not the model's: no mode may intercept them.
            with DisableTorchFunction():
                boxes = self._plan.boxes(self._schedule, sources)
                rows = {index: changes[index].rows() for index in sources}
                return run(self._schedule, self._clean, rows, boxes, backend, self._allowance)

        def replayed(run_model: Callable[..., Any], args: Sequence[Any]) -> Any:
            whole = [change.whole for change in changes]
            # First, so that a GPU works while the interpreter walks through the model.
            replay = Replay(self._answered, copies, self._device, compute(), whole)
            entered = [
                replay.placeholder(i) if i in sources else change.whole()
                for i, change in enumerate(changes)
            ]
            with undone() as undo:
                enter_mode(undo, replay)
                output = run_model(*entered, *args)
            return replay.whole(output)

        return run_by(model, replayed)

    @property
    def _answered(self) -> Answered:
        schedule = self._schedule
        return Answered(schedule.lowered.tape, schedule.followed, schedule.grids)

    def _sources_in(self, boxes: Sequence[Boxes | None]) -> dict[int, Boxes]:
        return _of_images(boxes, self._schedule.lowered)

    def _planned(
        self,
        model: Forward,
        lowered: LoweredTape,
        mode: Mode,
        sources: dict[int, Boxes],
        at_once: int,
    ) -> Plan:
        unusable = lowered.tape.failed or (ALIASED if lowered.tape.aliased else "")
        unusable = unusable or ("" if sources else NO_PICTURE)
        if unusable:
            return Plan(0, Recomputed(0, len(lowered.operators), 0.0, (unusable,)))
        dtype, threads = lowered.tape.values[0].dtype, torch.get_num_threads()
        measured = (self._backend.name, dtype, self._device, threads)
        settings = (mode, at_once, *measured, precision(dtype, self._device))
        key = signature(lowered), positions(sources), settings
        return plan_of(model, key, lambda: self._chosen(lowered, mode, sources, at_once))

    def _chosen(
        self, lowered: LoweredTape, mode: Mode, sources: dict[int, Boxes], at_once: int
    ) -> Plan:
        ways = estimates(lowered, sources, self._rates(lowered, mode), at_once)
        if mode is True:
            ways.sort(key=lambda way: -way.cut)
        schedule, way = _first_possible(lowered, ways)
        everything = len(lowered.operators)
        followed = len(schedule.followed) if schedule.saves else 0
        saved = max(1 - way.seconds / way.whole, 0.0) if way.whole and followed else 0.0
        reasons = tuple(fallback_reasons(lowered, way.cut))
        return Plan(way.cut, Recomputed(followed, everything - followed, saved, reasons))

    def _rates(self, lowered: LoweredTape, mode: Mode) -> Rates:
        if mode is True:
            return USUAL
        dtype = lowered.tape.values[0].dtype
        return rates(self._backend, dtype, self._device, torch.get_num_threads())


ALIASED = "the model overwrites a tensor that shares memory with another"
NO_PICTURE = "no changed input is a batch of images (N, C, H, W)"


def _recorded(model: Forward, inputs: Sequence[Tensor], arguments: Sequence[Any]) -> Tape:
    """Run a model on the clean batch and return its tape."""
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
        raise RuntimeError("the model's forward was not recorded")
    return tape


def run_by(model: Forward, run: Callable[[Callable[..., Any], Sequence[Any]], Any]) -> Forward:
    """Return a model that is run by `run`, as a method of its module, so that guards find it."""

    def forward(owner: Any, *args: Any) -> Any:
        return run(model, args)

    return MethodType(forward, getattr(model, "__self__", model))


def _first_possible(lowered: LoweredTape, ways: Sequence[Estimate]) -> tuple[Schedule, Estimate]:
    """Return the first cut whose clean values were kept, or else the last one."""
    for way in ways[:-1]:
        schedule = Schedule(lowered, way.cut)
        if schedule.is_possible:
            return schedule, way
    return Schedule(lowered, ways[-1].cut), ways[-1]


def _of_images(boxes: Sequence[Boxes | None], lowered: LoweredTape) -> dict[int, Boxes]:
    given = {index: boxes[index] for index in lowered.sources}
    return {index: box for index, box in given.items() if box is not None}
