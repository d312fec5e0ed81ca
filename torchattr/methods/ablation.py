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
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.core.device_faults import raise_if_lost
from torchattr.core.inputs import Inputs, as_arguments, check_aligned
from torchattr.core.targets import Classes, Several, TopK
from torchattr.core.types import Forward
from torchattr.incremental import Mode, Recomputed, TapeRecorder
from torchattr.methods._gradient.rows import UNFIT
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


@dataclass(frozen=True)
class AblationRun:
    """How to run perturbed copies.

    Attributes:
        at_once: number of copies in one forward; `None` chooses.
        progress: whether to show a progress bar.
        incremental: whether to recompute only what a change can reach.
        report: called with how much was recomputed, and why not less.

    Raises:
        InputTypeError: a number of copies that is not an int.
        InputError: one below 1, or an unknown `incremental`.
    """

    at_once: int | None
    progress: bool
    incremental: Mode = False
    report: Callable[[Recomputed], object] | None = None

    def __post_init__(self) -> None:
        check_at_once(self.at_once)
        check_incremental(self.incremental)


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
        run = AblationRun(at_once, progress, incremental, report)
        return self._effects(
            Perturbation(inputs, baselines, features),
            features,
            target,
            additional_forward_args,
            run,
            then,
        )

    def _effects(
        self,
        perturbation: Perturbation,
        features: Features,
        target: Any,
        additional_forward_args: Any,
        run: AblationRun,
        then: Callable[[Tensor], Tensor] | None = None,
    ) -> Any:
        """Return the effects of features, each replaced by a copy of a perturbation.

        Args:
            perturbation: the copies.
            features: the features that they replace.
            target: as for every method.
            additional_forward_args: as for every method.
            run: how to run the copies.
            then: applied to the model's scores, if given.
        """
        inputs = perturbation.inputs
        if not any(map(len, inputs.tensors)):
            return inputs.restore(of_no_example(features, inputs, target))
        scores, recorder = self._clean(inputs, target, additional_forward_args, run, then)
        values = self._values(perturbation, scores, run, recorder)
        elements = features.to_elements(features.effects(scores.clean, values))
        return inputs.restore(self._in_form(elements, scores))

    def _clean(
        self,
        inputs: Inputs,
        target: Any,
        additional_forward_args: Any,
        run: AblationRun,
        then: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[TargetScores, TapeRecorder | None]:
        """Return the scores of the clean batch, and what recorded its forward."""
        recorder = tape_recorder(inputs) if run.incremental is not False else None
        scores = _scores(
            self.model,
            inputs,
            target,
            as_arguments(additional_forward_args),
            self.output,
            then,
            through=recorder.around if recorder else None,
        )
        return scores, recorder

    def _values(
        self,
        perturbation: Perturbation,
        scores: TargetScores,
        run: AblationRun,
        recorder: TapeRecorder | None,
    ) -> Tensor:
        """Return the scores of the copies of a perturbation, `(masks, rows, targets)`."""
        if perturbation.masks.per_example:
            _require_per_example(scores)
        values, recomputed = evaluate_copies(
            perturbation,
            scores,
            at_once=run.at_once,
            progress=self._progress_title if run.progress else None,
            incremental=run.incremental,
            recorder=recorder,
        )
        if run.report:
            run.report(recomputed)
        return values

    @property
    def _progress_title(self) -> str:
        """Title of the progress bar."""
        return self.title

    def _in_form(self, elements: Sequence[Tensor], scores: TargetScores) -> Sequence[Tensor]:
        """Return attributions `(rows, targets, ...)` without the targets if only one is named."""
        return elements if scores.several else [element[:, 0] for element in elements]


def _scores(model: Forward, inputs: Inputs, *args: Any, **options: Any) -> TargetScores:
    try:
        return TargetScores(model, inputs, *args, **options)
    except UNFIT as error:
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


def of_no_example(features: Features, inputs: Inputs, target: Any) -> list[Tensor]:
    first = inputs.tensors[0]
    kind = first.dtype if first.is_floating_point() else torch.get_default_dtype()
    elements = features.to_elements(first.new_zeros(len(features), 0, _count(target), dtype=kind))
    return elements if isinstance(target, Several) else [part[:, 0] for part in elements]


def _count(target: Any) -> int:
    if isinstance(target, TopK):
        return target.k
    return len(target.indices) if isinstance(target, Classes) else 1
