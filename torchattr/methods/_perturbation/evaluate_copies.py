"""The scores of all perturbed copies: how many at once, by which way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.inputs import Inputs
from torchattr.errors import InputError, InputTypeError
from torchattr.incremental import Mode, Recomputed
from torchattr.methods._perturbation.engine import Perturbation
from torchattr.methods._perturbation.incremental_scores import scores_incrementally
from torchattr.methods._perturbation.memory_budget import fitting, in_batches
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores


def evaluate_copies(
    perturbation: Perturbation,
    scores: TargetScores,
    *,
    at_once: int | None,
    progress: str | None,
    incremental: Mode = "auto",
) -> tuple[Tensor, Recomputed]:
    """Give the values of all perturbed copies, `(masks, rows, targets)`, and how they were found.

    How many are run at once is chosen unless said; a forward that aggregates is given one copy
    at a time.

    Args:
        perturbation: what is done to which inputs.
        scores: what is measured.
        at_once: how many copies in one forward; `None` chooses.
        progress: the title of a progress bar, if one is wanted.
        incremental: whether to recompute only what a change can reach.
    """
    recomputed = Recomputed(0, 0, 0.0, ("incremental=False",))
    with tqdm(total=len(perturbation.masks), desc=progress, disable=progress is None) as bar:
        if incremental is not False:
            values, recomputed = scores_incrementally(
                perturbation, scores, incremental, at_once, bar
            )
            if values is not None:
                return values, recomputed
            bar.reset(total=len(perturbation.masks))
        return _as_a_whole(perturbation, scores, at_once, bar), recomputed


def check_incremental(incremental: Any) -> None:
    """Check how forwards of perturbed copies are asked for.

    Raises:
        InputError: neither a bool nor "auto".
    """
    if not isinstance(incremental, bool) and incremental != "auto":
        raise InputError(
            f"incremental must be True, False or 'auto', got {incremental!r}; 'auto' recomputes"
            " only what a change can reach wherever that pays"
        )


def check_at_once(perturbations_per_eval: Any) -> None:
    """Check how many perturbations are asked for in one forward.

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


def _as_a_whole(
    perturbation: Perturbation, scores: TargetScores, at_once: int | None, bar: tqdm
) -> Tensor:
    try:
        if not scores.per_example and (at_once or 1) > 1:
            raise NotPerExample(
                "the model's output, or one of the inputs, does not hold one row for each example"
            )
        return _values(perturbation, scores, at_once or _chosen(scores, perturbation.inputs), bar)
    except NotPerExample as error:
        if at_once is None:
            return _values(perturbation, scores, 1, bar)
        raise NotPerExample(
            f"perturbations_per_eval={at_once} is not possible: {error}. Such a forward can be"
            " given one perturbation at a time only; pass perturbations_per_eval=1 or None"
        ) from None


def _values(perturbation: Perturbation, scores: TargetScores, size: int, bar: tqdm) -> Tensor:
    def evaluate(start: int, stop: int) -> Tensor:
        found = scores.of(perturbation.perturbed(start, stop), stop - start)
        bar.update(stop - start)
        return found

    parts = list(in_batches(len(perturbation.masks), size, evaluate, "perturbed copy"))
    return torch.cat(parts) if parts else scores.clean.new_zeros(0, *scores.clean.shape)


def _chosen(scores: TargetScores, inputs: Inputs) -> int:
    if not scores.repeatable:
        return 1
    footprint = scores.footprint
    device = inputs.tensors[0].device
    return fitting(footprint.bytes, footprint, inputs.batch_size, device)
