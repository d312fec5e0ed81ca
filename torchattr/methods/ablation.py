"""The base of the methods that replace features of the inputs and compare scores.

A call uses four objects, each with one responsibility:

1. :class:`Features`: which elements are replaced together, and what is attributed to each;
2. :class:`Perturbation`: the copies of the inputs with features replaced;
3. :class:`TargetScores`: the scores that the target names, for the batch and for copies of it;
4. :func:`evaluate_copies`: the scores of all copies, in batches that fit into memory, by whole
   forwards or by recomputing only what a change can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.device_faults import raise_if_lost
from torchattr.core.inputs import Inputs, as_arguments, check_aligned
from torchattr.core.targets import Classes, Several, TopK
from torchattr.core.types import Forward
from torchattr.incremental import Mode, Recomputed
from torchattr.methods._perturbation.evaluate_copies import (
    check_at_once,
    check_incremental,
    evaluate_copies,
)
from torchattr.methods._perturbation.features import Features
from torchattr.methods._perturbation.incremental_scores import tape_recorder
from torchattr.methods._perturbation.perturbation import Baseline, Perturbation
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores
from torchattr.methods.base import Attribution


class Ablation(Attribution):
    """A method that replaces features of the inputs one after another."""

    def _ablate(
        self,
        inputs: Inputs,
        baselines: Sequence[Baseline],
        features: Features,
        target: Any,
        additional_forward_args: Any,
        *,
        at_once: int | None,
        progress: bool,
        incremental: Mode,
        report: Callable[[Recomputed], object] | None = None,
        then: Callable[[Tensor], Tensor] | None = None,
    ) -> Any:
        """Replace features one after another, and return their effects, shaped like the inputs.

        Args:
            inputs: the batch.
            baselines: what replaces them, as for :class:`Perturbation`.
            features: the features to replace.
            target: as for every method.
            additional_forward_args: as for every method.
            at_once: number of features to replace in one forward; `None` chooses.
            progress: whether to show a progress bar.
            incremental: whether to recompute only what a change can reach.
            report: called with how much was recomputed, and why not less.
            then: applied to the model's scores, if given.
        """
        check_at_once(at_once)
        check_incremental(incremental)
        perturbation = Perturbation(inputs, baselines, features)
        if not any(map(len, inputs.tensors)):
            return inputs.restore(_of_no_example(features, inputs, target))
        recorder = tape_recorder(inputs) if incremental is not False else None
        scores = _scores(
            self.model,
            inputs,
            target,
            as_arguments(additional_forward_args),
            self.output,
            then,
            through=recorder.around if recorder else None,
        )
        if features.per_example:
            _require_per_example(scores)
        values, recomputed = evaluate_copies(
            perturbation,
            scores,
            at_once=at_once,
            progress=self.title if progress else None,
            incremental=incremental,
            recorder=recorder,
        )
        if report:
            report(recomputed)
        elements = features.to_elements(features.effects(scores.clean, values))
        return inputs.restore(
            elements if scores.several else [element[:, 0] for element in elements]
        )


def _scores(model: Forward, inputs: Inputs, *args: Any, **options: Any) -> TargetScores:
    try:
        return TargetScores(model, inputs, *args, **options)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise_if_lost(error)
        # The model's own error about inputs of different batch sizes would not help.
        check_aligned(inputs.tensors)
        raise


def _require_per_example(scores: TargetScores) -> None:
    if not scores.per_example:
        raise NotPerExample(
            "feature_mask has different features for each example, but the model returns"
            f" {len(scores.clean)} values for the whole batch, or an input has another number of"
            " rows; pass one mask for all, (1, ...)"
        )


def _of_no_example(features: Features, inputs: Inputs, target: Any) -> list[Tensor]:
    first = inputs.tensors[0]
    kind = first.dtype if first.is_floating_point() else torch.get_default_dtype()
    elements = features.to_elements(first.new_zeros(len(features), 0, _count(target), dtype=kind))
    return elements if isinstance(target, Several) else [part[:, 0] for part in elements]


def _count(target: Any) -> int:
    if isinstance(target, TopK):
        return target.k
    return len(target.indices) if isinstance(target, Classes) else 1
