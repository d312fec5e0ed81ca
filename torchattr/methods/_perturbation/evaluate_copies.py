"""Evaluates all perturbed copies: incrementally or by whole forwards, in batches that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.device_faults import lost_device_named
from torchattr.core.inputs import Inputs
from torchattr.errors import InputError, InputTypeError
from torchattr.incremental import Mode, Recomputed, TapeRecorder
from torchattr.methods._perturbation.incremental_scores import scores_incrementally
from torchattr.methods._perturbation.memory_budget import fitting, in_batches
from torchattr.methods._perturbation.perturbation import Perturbation
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores

MadeCopies: TypeAlias = Callable[[int, int], Sequence[Tensor]]
"""Returns copies `[start, stop)` of a batch: for each input `(copies · N, ...)`."""


@lost_device_named()
def evaluate_copies(
    perturbation: Perturbation,
    scores: TargetScores,
    *,
    at_once: int | None,
    progress: str | None,
    incremental: Mode = "auto",
    recorder: TapeRecorder | None = None,
) -> tuple[Tensor, Recomputed]:
    """Return the scores of all perturbed copies, `(masks, rows, targets)`, and a report.

    Copies are evaluated incrementally where that is possible and pays, otherwise by whole
    forwards. A forward that aggregates the batch gets one copy at a time.

    Args:
        perturbation: the perturbed copies.
        scores: the scores to evaluate.
        at_once: number of copies in one forward; `None` chooses.
        progress: title of the progress bar; `None` shows none.
        incremental: whether to recompute only what a change can reach.
        recorder: holds the tape of the clean forward, if that was recorded.
    """
    recomputed = Recomputed(0, 0, 0.0, ("incremental=False",))
    with tqdm(total=len(perturbation.masks), desc=progress, disable=progress is None) as bar:
        if incremental is not False:
            values, recomputed = scores_incrementally(
                perturbation, scores, incremental, at_once, recorder, bar
            )
            if values is not None:
                return values, recomputed
            bar.reset(total=len(perturbation.masks))
        count, inputs = len(perturbation.masks), perturbation.inputs
        values = _by_whole_forwards(perturbation.perturbed, count, scores, inputs, at_once, bar)
        return values, recomputed


@lost_device_named()
def evaluate_made(
    made: MadeCopies,
    count: int,
    scores: TargetScores,
    inputs: Inputs,
    *,
    at_once: int | None,
    progress: str | None,
) -> Tensor:
    """Return the scores of copies that a function makes, `(count, rows, targets)`.

    They are run by whole forwards, of as many at once as fit into memory.

    Args:
        made: returns copies `[start, stop)` of the batch, for each input `(copies · N, ...)`.
        count: number of copies.
        scores: the scores to evaluate.
        inputs: the batch.
        at_once: number of copies in one forward; `None` chooses.
        progress: title of the progress bar; `None` shows none.
    """
    with tqdm(total=count, desc=progress, disable=progress is None) as bar:
        return _by_whole_forwards(made, count, scores, inputs, at_once, bar)


def check_incremental(incremental: Any) -> None:
    """Check the argument `incremental`.

    Raises:
        InputError: neither a bool nor "auto".
    """
    if not isinstance(incremental, bool) and incremental != "auto":
        raise InputError(
            f"incremental must be True, False or 'auto', got {incremental!r}; 'auto' recomputes"
            " only what a change can reach wherever that pays"
        )


def check_at_once(perturbations_per_eval: Any) -> None:
    """Check the argument `perturbations_per_eval`.

    Raises:
        InputTypeError: not an int.
        InputError: less than 1.
    """
    if perturbations_per_eval is None:
        return
    if not isinstance(perturbations_per_eval, int) or isinstance(perturbations_per_eval, bool):
        raise InputTypeError(
            "perturbations_per_eval must be an int, or None for as many as memory allows, got"
            f" {type(perturbations_per_eval).__name__}"
        )
    if perturbations_per_eval < 1:
        raise InputError(
            f"perturbations_per_eval must be at least 1, got {perturbations_per_eval}; pass None"
            " for as many as memory allows"
        )


def _by_whole_forwards(
    made: MadeCopies,
    count: int,
    scores: TargetScores,
    inputs: Inputs,
    at_once: int | None,
    bar: tqdm,
) -> Tensor:
    try:
        if not scores.per_example and (at_once or 1) > 1:
            raise NotPerExample(
                "the model's output, or one of the inputs, does not hold one row for each example"
            )
        size = at_once or _fitting_copies(scores, inputs)
        return _values(made, count, scores, size, bar)
    except NotPerExample as error:
        if at_once is None:
            return _values(made, count, scores, 1, bar)
        raise NotPerExample(
            f"perturbations_per_eval={at_once} is not possible: {error}. Such a forward can be"
            " given one perturbation at a time only; pass perturbations_per_eval=1 or None"
        ) from None


def _values(made: MadeCopies, count: int, scores: TargetScores, size: int, bar: tqdm) -> Tensor:
    def evaluate(start: int, stop: int) -> Tensor:
        values = scores.of(made(start, stop), stop - start)
        bar.update(stop - start)
        return values

    batches = list(in_batches(count, size, evaluate, "perturbed copy"))
    return torch.cat(batches) if batches else scores.clean.new_zeros(0, *scores.clean.shape)


def _fitting_copies(scores: TargetScores, inputs: Inputs) -> int:
    if not scores.repeatable:
        return 1
    footprint = scores.footprint
    device = inputs.tensors[0].device
    return fitting(footprint.bytes, footprint, inputs.batch_size, device)
