"""Scores of perturbed copies, recomputing only what a perturbation can reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.device_faults import raise_if_lost
from torchattr.core.free_memory import free_bytes
from torchattr.core.inputs import Inputs
from torchattr.core.stepping import counted
from torchattr.incremental import Diverged, Incremental, Mode, Recomputed, Tape, TapeRecorder
from torchattr.kernels import Boxes
from torchattr.methods._perturbation.memory_budget import (
    SHARE_OF_FREE,
    first_line,
    fitting,
    in_batches,
)
from torchattr.methods._perturbation.perturbation import Perturbation
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores

MOST_RECORDED = 2**29
"""Limit on the clean activations kept at once, in bytes; it bounds the images of a group."""
SAMPLE = 24
"""Number of perturbations from which the cost of all is estimated."""
SMALL = 2**28
"""Forwards that allocate fewer bytes in all are not worth the planning."""
CPU_COPIES = 16
"""Memory allowed by default on a CPU, in whole copies."""
CPU_ROWS = 128
"""More copies at once are no faster on a CPU."""


def tape_recorder(inputs: Inputs) -> TapeRecorder:
    """Return a recorder for the clean forward, so that it need not run again."""
    return TapeRecorder(len(inputs.tensors), MOST_RECORDED)


def scores_incrementally(
    perturbation: Perturbation,
    scores: TargetScores,
    mode: Mode,
    at_once: int | None,
    recorder: TapeRecorder | None,
    bar: tqdm,
) -> tuple[Tensor | None, Recomputed]:
    """Return the scores of all perturbed copies, `(masks, rows, targets)`, or `None`, and a report.

    Args:
        perturbation: the perturbed copies.
        scores: the scores to evaluate.
        mode: recompute incrementally as far as possible (`True`), or as far as it is faster
            (`"auto"`).
        at_once: number of whole copies that may be in memory.
        recorder: holds the tape of the clean forward, if that was recorded.
        bar: the progress bar.
    """
    # Taken even if it is not used: a tape holds memory.
    tape = recorder.take() if recorder else None
    reason = obstacle(perturbation, scores, mode)
    if reason:
        return None, Recomputed(0, 0, 0.0, (reason,))
    values, recomputed = [], Recomputed(0, 0, 0.0)
    groups = list(groups_of(scores))
    tape = tape if len(groups) == 1 else None
    bar.reset(total=len(groups) * len(perturbation.masks))
    try:
        for images in groups:
            run = _IncrementalRun(
                perturbation.of_images(images), scores.of_images(images), mode, at_once, tape
            )
            recomputed = run.recomputed
            if not run.saves:
                return None, recomputed
            values.append(run.values(bar))
    except (Diverged, NotPerExample) as error:
        return None, nothing_saved(recomputed, str(error))
    except Exception as error:  # noqa: BLE001 - the model's own errors come again from whole copies
        raise_if_lost(error)
        reason = f"incremental computation failed ({type(error).__name__}: {first_line(error)})"
        return None, nothing_saved(recomputed, reason)
    return torch.cat(values, dim=1), recomputed


def nothing_saved(planned: Recomputed, reason: str) -> Recomputed:
    return Recomputed(0, planned.whole + planned.followed, 0.0, (reason,))


def obstacle(perturbation: Perturbation, scores: TargetScores, mode: Mode) -> str:
    """Return why not to compute incrementally; empty if there is no reason."""
    tensors = perturbation.inputs.tensors
    device = tensors[0].device
    if not scores.repeatable:
        return "the model does not return one row of scores per example for every batch size"
    if not scores.reads_output:
        return "the target is inside the model"
    if any(tensor.dtype not in (torch.float32, torch.float64) for tensor in tensors):
        return "only float32 and float64 are supported: others are too imprecise for small changes"
    if torch.is_autocast_enabled(device.type):
        return "autocast is on, and lower precision is too imprecise for small changes"
    if len(perturbation.masks) < 2:
        return "there is nothing to repeat"
    if mode == "auto" and scores.footprint.total * len(perturbation.masks) < SMALL:
        return "all forwards together are small"
    return ""


def groups_of(scores: TargetScores) -> Iterator[slice]:
    """Yield the images in groups whose clean activations can be kept."""
    size = max(MOST_RECORDED * scores.batch // max(scores.footprint.total, 1), 1)
    size = size if scores.divisible else scores.batch
    for start in range(0, scores.batch, size):
        yield slice(start, min(start + size, scores.batch))


class _IncrementalRun:
    """An incremental session for one group of images, and the number of copies to run at once."""

    def __init__(
        self,
        perturbation: Perturbation,
        scores: TargetScores,
        mode: Mode,
        at_once: int | None,
        tape: Tape | None,
    ) -> None:
        self._perturbation = perturbation
        self._scores = scores
        sample = _sampled(perturbation)
        self._session = Incremental(
            scores.model,
            perturbation.inputs.tensors,
            scores.arguments,
            mode,
            sample,
            self._expected(at_once),
            tape,
            follow=perturbation.masks.cumulative,
        )
        self.recomputed = self._session.recomputed
        self._size = self._fitting(sample, at_once) if self.saves else 1

    @property
    def saves(self) -> bool:
        return self._session.saves

    def values(self, bar: tqdm) -> Tensor:
        """Return the scores of all copies of these images."""

        def evaluate(start: int, stop: int) -> Tensor:
            changes, copies = self._perturbation.changes(start, stop), stop - start
            values = self._scores.of(
                (), copies, lambda model: self._session.around(model, changes, copies)
            )
            bar.update(copies)
            return values

        masks = len(self._perturbation.masks)
        if self._perturbation.masks.cumulative:
            return torch.cat(list(_once(masks, self._size, evaluate)))
        return torch.cat(list(in_batches(masks, self._size, evaluate, "perturbed copy")))

    @property
    def _device(self) -> torch.device:
        return self._perturbation.inputs.tensors[0].device

    @property
    def _variants(self) -> int:
        return len(self._perturbation.masks) * self._perturbation.inputs.batch_size

    def _expected(self, at_once: int | None) -> int:
        """Return the number of variants per chunk from which costs are estimated."""
        images = self._perturbation.inputs.batch_size
        footprint = self._scores.footprint
        if self._device.type == "cpu":
            return min(CPU_COPIES, self._variants)
        copies = at_once or fitting(footprint.bytes, footprint, self._scores.batch, self._device)
        return min(copies * images, self._variants)

    def _fitting(self, sample: Sequence[Boxes | None], at_once: int | None) -> int:
        """Return the number of copies that fit into the memory allowed, at least 1.

        That is the memory of `at_once` whole copies. By default, a CPU gets that of a few, since
        more at once leave its caches; other devices get their free memory, since a launch costs as
        much for one variant as for thousands.
        """
        images = self._perturbation.inputs.batch_size
        on_cpu = self._device.type == "cpu"
        allowed = int(free_bytes(self._device) * SHARE_OF_FREE)
        copies = at_once or (CPU_COPIES if on_cpu else None)
        if copies is not None:
            whole = self._scores.footprint.peak // self._scores.batch * images
            allowed = min(allowed, whole * copies)
        most = CPU_ROWS if on_cpu else self._variants
        return max(self._session.settle(sample, allowed, most) // images, 1)


def _once(total: int, size: int, evaluate: Callable[[int, int], Tensor]) -> Iterator[Tensor]:
    """Evaluate `[0, total)` in ranges that follow one another.

    What a range that failed is compared with has changed, so it cannot be run again.
    """
    with counted(total) as begin:
        for start in range(0, total, size):
            stop = min(start + size, total)
            begin(start, stop)
            yield evaluate(start, stop)


def _sampled(perturbation: Perturbation) -> list[Boxes | None]:
    """Return the boxes of a few perturbations, taken evenly from all."""
    count = len(perturbation.masks)
    chosen = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).round().astype(np.int64))
    shapes = [tensor.shape for tensor in perturbation.inputs.tensors]
    return perturbation.masks.boxes_at(chosen, shapes)
