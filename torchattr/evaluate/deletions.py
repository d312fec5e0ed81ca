"""The scores of a batch whose features are replaced, which several metrics start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import torch
from torch import Tensor

from torchattr.core.arguments import check_function
from torchattr.core.inputs import Inputs, as_arguments
from torchattr.core.outputs import activated_by
from torchattr.core.types import Activation, Forward, OutputKey, Tensors
from torchattr.errors import OutputError
from torchattr.evaluate.measured_inputs import measured_inputs
from torchattr.evaluate.measured_maps import undefined
from torchattr.evaluate.ranked_masks import Ranking, as_orders, order_of, pixels
from torchattr.evaluate.replacement import as_replaced
from torchattr.incremental import Mode, Recomputed
from torchattr.methods import (
    FeatureMasks,
    MadeCopies,
    Perturbation,
    Segments,
    TargetScores,
    as_segments,
    check_at_once,
    check_incremental,
    evaluate_copies,
    evaluate_made,
    tape_recorder,
)


class ScoreOptions(TypedDict, total=False):
    """Keywords of every metric that runs the model: how scores are read.

    Attributes:
        activation: how the model's scores become probabilities: `"softmax"`, `"sigmoid"`, or
            `"none"` for raw scores. It does not apply to a :class:`torchattr.Neuron`, nor to a
            target that is a function of the output.
        additional_forward_args: as for every method.
        output: as for every method.
        show_progress: show a progress bar on stderr.
    """

    activation: Activation
    additional_forward_args: Any
    output: OutputKey
    show_progress: bool


class FeatureOptions(ScoreOptions, total=False):
    """Keywords of every metric that replaces features: which, and how scores are read.

    Attributes:
        feature_mask: features, as for :class:`torchattr.FeatureAblation`, such as
            :func:`torchattr.evaluate.blocks` or :func:`torchattr.evaluate.superpixels`. By default
            each pixel, with all its channels, is a feature, or each element of rows `(N, C)`.
        perturbations_per_eval: maximum number of copies per forward; `None` uses as many as memory
            allows.
        incremental: recompute only what changes, as for :class:`torchattr.FeatureAblation`.
        report: as there: called with what was recomputed.

    and those of :class:`ScoreOptions`.
    """

    feature_mask: Tensors | None
    perturbations_per_eval: int | None
    incremental: Mode
    report: Callable[[Recomputed], object] | None


class DeletionOptions(FeatureOptions, total=False):
    """Keywords of every metric that lets you choose what replaces features.

    Attributes:
        baselines: what features become: a number; for pictures `(N, C, h, w)` `"blur"`, a Gaussian
            of 5 pixels cut to 11 as in Petsiuk, Das and Saenko 2018, `"mean"` of each channel, or
            `"uniform"` noise within each channel's range (:func:`uniform_noise` for other seeds);
            or a tensor that broadcasts to the input. For a tuple of inputs, one of these for all,
            or a tuple.

    and those of :class:`FeatureOptions`.
    """

    baselines: Any


class Deletions:
    """A batch, the attributions to measure, and the scores of copies whose features are replaced.

    Args:
        model: as for every method.
        inputs: as for every method.
        attributions: the maps to measure, as methods return them.
        target: as for every method.
        options: see :class:`DeletionOptions`.

    Attributes:
        inputs: the batch.
        features: what is replaced together.
        scores: the scores of the target, and those of the batch.
        attributions: for each target or once for all of them, one for each input.

    Raises:
        ShapeError, InputTypeError, InputError, OutputError: as for
            :func:`torchattr.evaluate.deletion_curve`.
    """

    def __init__(
        self,
        model: Forward,
        inputs: Tensors,
        attributions: Any,
        target: Any,
        *,
        baselines: Any = 0,
        feature_mask: Any = None,
        activation: Activation = "none",
        additional_forward_args: Any = None,
        output: OutputKey = None,
        perturbations_per_eval: int | None = None,
        incremental: Mode = "auto",
        report: Callable[[Recomputed], object] | None = None,
        show_progress: bool = False,
    ) -> None:
        check_at_once(perturbations_per_eval)
        check_incremental(incremental)
        if report is not None:
            check_function("report", report)
        probabilities = activated_by(activation)
        self.inputs = measured_inputs(inputs)
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
        self._at_once, self._shows_progress = perturbations_per_eval, show_progress
        self._incremental: Mode = incremental
        self._report = report

    def of(self, masks: FeatureMasks, title: str | None, replaced: Any = None) -> Tensor:
        """Return the scores of copies: `(masks, N, targets)`.

        Args:
            masks: what each copy replaces.
            title: of the progress bar.
            replaced: what features become, if not the baselines.
        """
        baselines = self._replaced if replaced is None else as_replaced(replaced, self.inputs)
        found, recomputed = evaluate_copies(
            Perturbation(self.inputs, baselines, masks),
            self.scores,
            at_once=self._at_once,
            progress=title if self._shows_progress else None,
            incremental=self._incremental,
            recorder=self._recorder,
        )
        if self._report:
            self._report(recomputed)
        return found

    def of_made(self, made: MadeCopies, count: int, title: str) -> Tensor:
        """Return the scores of copies that a function makes: `(copies, N, targets)`.

        Args:
            made: returns copies `[start, stop)` of the batch, one tensor for each input.
            count: their number.
            title: of the progress bar.
        """
        return evaluate_made(
            made,
            count,
            self.scores,
            self.inputs,
            at_once=self._at_once,
            progress=title if self._shows_progress else None,
        )

    def by_order(
        self, first: Ranking, scores: Callable[[list[Tensor]], Tensor], metric: str
    ) -> Tensor:
        """Return scores along the order of each map: `(N, steps)`, or `(N, targets, steps)`.

        Where all features of a map are worth the same, there is no order: these are NaN, with a
        warning. Each target has the scores by the order of its own map.

        Args:
            first: which features come first.
            scores: returns the scores of all targets, `(steps, N, targets)`, by ranks for each
                input.
            metric: its name, for the warning.
        """
        found, is_defined = [], []
        for attribution in self.attributions:
            order = order_of(self.features, attribution, first)
            found.append(scores(order.ranks))
            is_defined.append(order.is_defined)
        along = found[0]
        if len(found) > 1:
            along = torch.stack([own[..., target] for target, own in enumerate(found)], -1)
        known = torch.stack(is_defined, 1).to(along.device).expand(-1, along.shape[-1])
        values = self.in_form(along.movedim(0, -1))
        because = "all features are worth the same"
        return undefined(values, self.in_form(known)[..., None], metric, because)

    @property
    def sizes(self) -> Tensor:
        """Each example's number of features, `(N,)`, on the CPU."""
        return self.features.members.sum(1).expand(self.inputs.batch_size)

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
