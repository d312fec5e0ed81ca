"""The scores of a batch whose features are replaced, which several metrics start from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.outputs import activated_by
from torchattr.core.types import Activation, Forward, OutputKey, Tensors
from torchattr.errors import InputError, OutputError
from torchattr.evaluate.ranked_masks import as_orders, pixels
from torchattr.evaluate.replacement import as_replaced
from torchattr.methods import (
    FeatureMasks,
    Perturbation,
    Segments,
    TargetScores,
    as_segments,
    check_at_once,
    evaluate_copies,
    tape_recorder,
)


class Deletions:
    """A batch, the attributions to measure, and the scores of copies whose features are replaced.

    Arguments and errors are those of :func:`torchattr.evaluate.deletion_curve`.

    Attributes:
        inputs: the batch.
        features: what is replaced together.
        scores: the scores of the target, and those of the batch.
        attributions: for each target or once for all of them, one for each input.
    """

    def __init__(
        self,
        model: Forward,
        inputs: Tensors,
        attributions: Any,
        target: Any,
        *,
        baselines: Any,
        feature_mask: Any,
        activation: Activation,
        additional_forward_args: Any,
        output: OutputKey,
        perturbations_per_eval: int | None,
    ) -> None:
        check_at_once(perturbations_per_eval)
        probabilities = activated_by(activation)
        self.inputs = as_inputs(inputs, differentiable=False)
        if self.inputs.batch_size == 0:
            raise InputError("inputs has no examples, so there is nothing to measure")
        self._replaced = as_replaced(baselines, self.inputs)
        self.features: Segments = (
            pixels(self.inputs.tensors)
            if feature_mask is None
            else as_segments(self.inputs, feature_mask)
        )
        self._recorder = tape_recorder(self.inputs)
        arguments = as_arguments(additional_forward_args)
        self.scores = TargetScores(
            model,
            self.inputs,
            target,
            arguments,
            output,
            probabilities,
            through=self._recorder.around,
        )
        _need_rows(self.scores, self.inputs)
        self.attributions = as_orders(attributions, self.inputs, len(self.scores.targets))
        self._at_once = perturbations_per_eval

    def of(self, masks: FeatureMasks, progress: str | None) -> Tensor:
        """Return the scores of copies: `(masks, N, targets)`.

        Args:
            masks: what each copy replaces.
            progress: title of the progress bar; `None` shows none.
        """
        found, _ = evaluate_copies(
            Perturbation(self.inputs, self._replaced, masks),
            self.scores,
            at_once=self._at_once,
            progress=progress,
            recorder=self._recorder,
        )
        return found

    def of_pictures(self, changed: Iterable[Tensor], count: int, progress: str | None) -> Tensor:
        """Return the scores of changed batches, one after another: `(batches, N, targets)`.

        Args:
            changed: the batches.
            count: their number.
            progress: title of the progress bar; `None` shows none.
        """
        bar = tqdm(changed, total=count, desc=progress, disable=progress is None)
        return torch.cat([self.scores.of([pictures]) for pictures in bar])

    def sums(self) -> Tensor:
        """Return the sum of the attributions of each feature: `(targets or 1, N, features)`."""
        found = [self.features.sums(one)[0] for one in self.attributions]
        return torch.stack(found).double()

    def in_form(self, values: Tensor) -> Tensor:
        """Return `(N, targets, ...)` without the targets if only one is named."""
        return values if self.scores.several else values[:, 0]


def _need_rows(scores: TargetScores, inputs: Inputs) -> None:
    if not scores.per_example:
        raise OutputError(
            "each example has its own order of features, but the model returns"
            f" {len(scores.clean)} values for {inputs.batch_size} examples; pass a model with one"
            " row of scores for each, or a single example"
        )
