"""The short way to the scores of perturbed copies: recompute only what a perturbation can reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.incremental import Diverged, Incremental, Mode, Recomputed, Tape
from torchattr.kernels import Boxes
from torchattr.methods._perturbation.engine import Perturbation
from torchattr.methods._perturbation.memory_budget import (
    SHARE_OF_FREE,
    first_line,
    free_bytes,
    in_batches,
)
from torchattr.methods._perturbation.scores import MOST_RECORDED, NotPerExample, TargetScores

SAMPLE = 24
"""Of how many perturbations the cost is looked at before all are run."""
SMALL = 2**28
"""Forwards that make less than so many bytes are not worth a plan."""
AT_ONCE = 16
"""Memory is that of so many whole copies, unless said otherwise."""
ROWS = 128
"""More copies at once are no faster."""


def scores_incrementally(
    perturbation: Perturbation,
    scores: TargetScores,
    mode: Mode,
    at_once: int | None,
    bar: tqdm,
) -> tuple[Tensor | None, Recomputed]:
    """Give the values of all perturbed copies, `(masks, rows, targets)`, or `None`, and why not.

    Args:
        perturbation: what is done to which inputs.
        scores: what is measured.
        mode: whether to follow changes wherever that is possible, or where it pays.
        at_once: how many whole copies may be in memory.
        bar: told how many copies were run.
    """
    tape = scores.take_tape()
    reason = _obstacle(perturbation, scores, mode)
    if reason:
        return None, Recomputed(0, 0, 0.0, (reason,))
    found, recomputed = [], Recomputed(0, 0, 0.0)
    groups = list(_groups(scores))
    tape = tape if len(groups) == 1 else None
    bar.reset(total=len(groups) * len(perturbation.masks))
    try:
        for images in groups:
            part = perturbation.of_images(images)
            way = _IncrementalRun(part, scores.of_images(images), mode, at_once, tape)
            recomputed = way.recomputed
            if not way.saves:
                return None, recomputed
            found.append(way.values(bar))
    except (Diverged, NotPerExample) as error:
        return None, _nothing_saved(recomputed, str(error))
    except Exception as error:  # noqa: BLE001 - the model's own errors come again from whole copies
        why = f"following changes failed ({type(error).__name__}: {first_line(error)})"
        return None, _nothing_saved(recomputed, why)
    return torch.cat(found, dim=1), recomputed


def _nothing_saved(planned: Recomputed, reason: str) -> Recomputed:
    return Recomputed(0, planned.whole + planned.followed, 0.0, (reason,))


def _obstacle(perturbation: Perturbation, scores: TargetScores, mode: Mode) -> str:
    """Say what stands in the way of following changes, if anything does."""
    tensors = perturbation.inputs.tensors
    device = tensors[0].device
    if not scores.repeatable:
        return "the model does not give one row of scores for each example of any batch"
    if scores.looks_inside:
        return "the target is inside the model"
    if any(tensor.dtype not in (torch.float32, torch.float64) for tensor in tensors):
        return "only float32 and float64 are followed: what changes is too small for others"
    if torch.is_autocast_enabled(device.type):
        return "autocast is on: what changes is too small for lower precision"
    if len(perturbation.masks) < 2:
        return "there is nothing to repeat"
    if mode == "auto" and scores.footprint.total * len(perturbation.masks) < SMALL:
        return "all forwards together are small"
    return ""


def _groups(scores: TargetScores) -> Iterator[slice]:
    """Give the images in groups whose clean activations can be kept."""
    size = max(MOST_RECORDED * scores.batch // max(scores.footprint.total, 1), 1)
    size = size if scores.divisible else scores.batch
    for start in range(0, scores.batch, size):
        yield slice(start, min(start + size, scores.batch))


class _IncrementalRun:
    """The short way for a few images."""

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
        self._way = Incremental(
            scores.model, perturbation.inputs.tensors, scores.arguments, mode, sample, AT_ONCE, tape
        )
        self.recomputed = self._way.recomputed
        self._size = self._fitting(sample, at_once) if self.saves else 1

    @property
    def saves(self) -> bool:
        return self._way.saves

    def values(self, bar: tqdm) -> Tensor:
        """Give the values of all copies of these images."""

        def evaluate(start: int, stop: int) -> Tensor:
            changes, copies = self._perturbation.changes(start, stop), stop - start
            found = self._scores.of(
                (), copies, lambda model: self._way.around(model, changes, copies)
            )
            bar.update(copies)
            return found

        masks = len(self._perturbation.masks)
        return torch.cat(list(in_batches(masks, self._size, evaluate, "perturbed copy")))

    def _fitting(self, sample: Sequence[Boxes | None], at_once: int | None) -> int:
        """Give how many copies fit into the memory of so many whole ones."""
        images = self._perturbation.inputs.batch_size
        footprint, device = self._scores.footprint, self._perturbation.inputs.tensors[0].device
        whole = footprint.peak // self._scores.batch * images * (at_once or AT_ONCE)
        allowed = min(whole, int(free_bytes(device) * SHARE_OF_FREE))
        return max(self._way.settle(sample, allowed, ROWS) // images, 1)


def _sampled(perturbation: Perturbation) -> list[Boxes | None]:
    """Give the boxes of a few perturbations, evenly from all."""
    count = len(perturbation.masks)
    chosen = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).round().astype(int))
    parts = [perturbation.boxes(int(one), int(one) + 1) for one in chosen]
    return [_together(boxes) for boxes in zip(*parts, strict=True)]


def _together(parts: Sequence[Boxes | None]) -> Boxes | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    table = np.concatenate([part.table for part in known])
    return Boxes.of(*table.T[:-1])
