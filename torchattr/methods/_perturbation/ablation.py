"""From features to attributions: replace each, measure, and give every element its share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, check_aligned
from torchattr.core.targets import Classes, TopK
from torchattr.core.types import Forward
from torchattr.incremental import Mode, Recomputed
from torchattr.methods._perturbation.engine import Baseline, Perturbation
from torchattr.methods._perturbation.evaluate_copies import (
    check_at_once,
    check_incremental,
    evaluate_copies,
)
from torchattr.methods._perturbation.features import Features
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores
from torchattr.methods.base import Attribution


class Ablation(Attribution):
    """A method that replaces features of the inputs one after another.

    Attributes:
        recomputed: what of the model the last call recomputed for changed pixels only.
    """

    recomputed: Recomputed | None = None

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
        then: Callable[[Tensor], Tensor] | None = None,
    ) -> Any:
        """Replace features one after another, and give what they are worth, like the inputs.

        Args:
            inputs: the batch.
            baselines: what replaces them, as for :class:`Perturbation`.
            features: what is replaced.
            target: as for every method.
            additional_forward_args: likewise.
            at_once: how many features to replace in one forward; `None` chooses.
            progress: whether to show a progress bar.
            incremental: whether to recompute only what a change can reach.
            then: what is made of the model's scores, if anything.
        """
        check_at_once(at_once)
        check_incremental(incremental)
        perturbation = Perturbation(inputs, baselines, features)
        if not any(map(len, inputs.tensors)):
            return inputs.restore(_of_no_example(features, inputs, target))
        arguments = as_arguments(additional_forward_args)
        scores = _scores(
            self.model,
            inputs,
            target,
            arguments,
            self.output,
            then,
            recording=incremental is not False,
        )
        if features.per_example:
            _need_per_example(scores)
        title = self.title if progress else None
        values, self.recomputed = evaluate_copies(
            perturbation, scores, at_once=at_once, progress=title, incremental=incremental
        )
        spread = features.to_elements(features.effects(scores.clean, values))
        return inputs.restore(spread if scores.several else [part[:, 0] for part in spread])


def _scores(model: Forward, inputs: Inputs, *args: Any, **options: Any) -> TargetScores:
    try:
        return TargetScores(model, inputs, *args, **options)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        # What a model for examples says of inputs that do not belong together helps nobody.
        check_aligned(inputs.tensors)
        raise


def _need_per_example(scores: TargetScores) -> None:
    if not scores.per_example:
        raise NotPerExample(
            "feature_mask has different features for each example, but the model gives"
            f" {len(scores.clean)} values for the whole batch, or an input has another number of"
            " rows; pass one mask for all, (1, ...)"
        )


def _of_no_example(features: Features, inputs: Inputs, target: Any) -> list[Tensor]:
    first = inputs.tensors[0]
    kind = first.dtype if first.is_floating_point() else torch.get_default_dtype()
    several = isinstance(target, (TopK, Classes))
    count = target.k if isinstance(target, TopK) else len(target.indices) if several else 1
    spread = features.to_elements(first.new_zeros(len(features), 0, count, dtype=kind))
    return spread if several else [part[:, 0] for part in spread]
