"""DeepLIFT averaged over baselines, an estimate of SHAP values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, overload

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import joined, tensors_of, with_tensors
from torchattr.core.targets import Several, Target
from torchattr.core.types import Tensors, TensorsT
from torchattr.errors import LayerError, ShapeError
from torchattr.layers import ComparedInputs
from torchattr.methods._gradient.attributed import Attributed, AttributedInputs
from torchattr.methods._gradient.baselines import BaselineDistribution, BaselineRows
from torchattr.methods._gradient.comparison import Comparison
from torchattr.methods._perturbation.batch_repeat import Copies, repeat_rows
from torchattr.methods._perturbation.checked import checked_count
from torchattr.methods._perturbation.memory_budget import Footprint, fitting, in_batches
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores
from torchattr.methods.deep_lift import CustomAttribution, RescaleAttribution, unless_unfit
from torchattr.methods.registry import register_method

_Part: TypeAlias = tuple[Any, Any]
"""Attributions summed over baselines, and the delta of each image and baseline."""


class AveragedRescaleAttribution(RescaleAttribution):
    """The base of the methods that average DeepLIFT over baselines."""

    def _averaged(
        self,
        inputs: Inputs,
        baselines: Any,
        target: Any,
        arguments: Sequence[Any],
        custom: CustomAttribution | None,
        of: Attributed,
        internal_batch_size: int | None,
    ) -> tuple[Any, Any]:
        """Return the mean of the attributions, and what they miss for each pair."""
        rows = _together(BaselineRows(baselines, inputs).tensors, inputs)
        if internal_batch_size is not None:
            checked_count(internal_batch_size, "internal_batch_size", expected="an int or None")
        scores = TargetScores(
            self.model,
            inputs,
            target,
            arguments,
            self.output,
            taps=list(of.taps.values()),
            footprint=Footprint(ComparedInputs()),
        )
        pairs = _Pairs(self, inputs, rows, scores, custom, of)
        found, delta = pairs.averaged(internal_batch_size)
        clean = of.values(scores.trace, inputs.tensors)
        results = joined([found, clean], lambda pair: pair[0].to(pair[1].dtype))
        return results, with_tensors(delta, _of_targets if isinstance(target, Several) else _of_one)


@register_method("deep_lift_shap")
class DeepLiftShap(AveragedRescaleAttribution):
    """The mean of DeepLIFT over baselines, shaped like the input.

    Lundberg and Lee 2017, arXiv:1705.07874 (Deep SHAP): with a sample of the data as baselines, it
    estimates the SHAP values of a score whose parts were independent of each other.

    The attributions sum to the score minus its mean over the baselines, up to rounding. They are
    *not* the SHAP values where elements interact, nor where those of the data depend on each other.

    Each baseline runs once for many images, as many at a time as memory allows. It runs as a single
    row where the model is known to treat each example by itself.

    Args:
        multiply_by_inputs: multiply by `x - x0`; otherwise the mean of the multipliers.
        eps: as for :class:`DeepLift`.

    >>> import torch, torchattr as ta
    >>> model, x, others = torch.nn.Linear(3, 2), torch.ones(2, 3), torch.rand(20, 3)
    >>> maps, delta = ta.DeepLiftShap(model).attribute(
    ...     x, others, target=1, return_convergence_delta=True
    ... )
    >>> maps.shape, delta.shape, bool(delta.abs().max() < 1e-5)
    (torch.Size([2, 3]), torch.Size([40]), True)
    """

    @overload
    def attribute(
        self,
        inputs: TensorsT,
        baselines: BaselineDistribution = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: Literal[False] = False,
        custom_attribution_func: CustomAttribution | None = None,
        *,
        internal_batch_size: int | None = None,
    ) -> TensorsT: ...

    @overload
    def attribute(
        self,
        inputs: TensorsT,
        baselines: BaselineDistribution = None,
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        return_convergence_delta: Literal[True],
        custom_attribution_func: CustomAttribution | None = None,
        internal_batch_size: int | None = None,
    ) -> tuple[TensorsT, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Tensors,
        baselines: BaselineDistribution = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        *,
        internal_batch_size: int | None = None,
    ) -> Any: ...

    def attribute(
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        *,
        internal_batch_size: int | None = None,
    ) -> Any:
        """Return the attributions, shaped like the inputs.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            baselines: what each input is compared with: a tensor `(rows, ...)` with any number of
                rows in the form of an example, or a number; one for each input, with equally many
                rows. Or a function of the inputs, or of nothing, that returns such. 0 by default.
            target: as for every method; the predicted class is that of the input.
            additional_forward_args: as for every method; the baselines of an example run with its.
            return_convergence_delta: return `(attributions, delta)`: for each example and baseline,
                those of an example side by side, how far the sum of the contributions is from
                `s(x) - s(x0)`.
            custom_attribution_func: as for :meth:`DeepLift.attribute`; its results are averaged.
            internal_batch_size: pairs of an example and a baseline in one forward, at most; `None`
                takes as many as memory allows. Halved when memory runs out.

        Raises:
            InputTypeError: baselines that are neither numbers nor floating tensors.
            ShapeError: baselines in another form than the examples, or unlike numbers of them.
            InputError: baselines that are not finite, or `internal_batch_size` below 1.
            OutputError: the model does not return one row of scores for each example.
            ModelError: as for :meth:`DeepLift.attribute`.
            OutOfMemory: not even one pair fits.
        """
        given = as_inputs(inputs)
        found, delta = self._averaged(
            given,
            baselines,
            target,
            as_arguments(additional_forward_args),
            custom_attribution_func,
            AttributedInputs(),
            internal_batch_size,
        )
        return (given.restore(found), delta) if return_convergence_delta else given.restore(found)


class _Pairs:
    """The pairs of images and baselines of one call.

    Args:
        method: the method.
        inputs: the images.
        rows: the baselines of each input.
        scores: the scores of the images, which fix the target.
        custom: computes attributions from multipliers, if given.
        of: what is attributed to.
    """

    def __init__(
        self,
        method: AveragedRescaleAttribution,
        inputs: Inputs,
        rows: Sequence[Tensor],
        scores: TargetScores,
        custom: CustomAttribution | None,
        of: Attributed,
    ) -> None:
        if not scores.per_example:
            raise NotPerExample(
                f"the model's output for a batch of {scores.batch} does not hold one row for each"
                " example, but is one for all; pass a model that scores each"
            )
        self._method = method
        self._inputs = inputs
        self._rows = rows
        self._scores = scores
        self._custom = custom
        self._of = of
        clean = tensors_of(of.values(scores.trace, inputs.tensors))
        self._lengths = [len(one) if one.dim() else 1 for one in clean]
        self._shares = method._may_share(inputs, scores.arguments, custom, of)
        self._run: Comparison | None = None
        self._run_for: tuple[int, ...] = ()

    def averaged(self, internal_batch_size: int | None) -> _Part:
        """Return the mean over the baselines, and the delta of each image and baseline."""
        count = len(self._rows[0])
        at_once = self._at_once(internal_batch_size)
        baselines = min(count, at_once)
        images = max(at_once // baselines, 1) if self._scores.divisible else self._scores.batch
        self._shares = self._shares and min(images, self._scores.batch) > 1

        def evaluate(first: int, last: int) -> _Part:
            def of_images(start: int, stop: int) -> _Part:
                return self._evaluated(slice(first, last), slice(start, stop))

            # An empty batch is one part, too, whose result is empty.
            batch = max(self._scores.batch, 1)
            parts = list(in_batches(batch, images, of_images, "image"))
            return joined(parts, torch.cat)

        parts = list(in_batches(count, baselines, evaluate, "baseline"))
        sums = joined([found for found, _ in parts], _summed)
        means = with_tensors(sums, lambda total: total / count)
        return means, joined([delta for _, delta in parts], partial(torch.cat, dim=1))

    def _at_once(self, internal_batch_size: int | None) -> int:
        """Return the number of pairs in one forward."""
        if internal_batch_size is not None:
            return internal_batch_size
        scores, batch = self._scores, max(self._scores.batch, 1)
        if not scores.repeatable:
            return 1
        footprint = scores.footprint
        device = self._inputs.tensors[0].device
        return fitting(footprint.bytes_of_comparison // batch, footprint, 1, device)

    def _evaluated(self, baselines: slice, images: slice) -> _Part:
        """Return the sums over some baselines for some images."""

        def each() -> _Part:
            self._shares = False
            return self._compared(baselines, images, shared=False)

        if not self._shares:
            return each()
        return unless_unfit(lambda: self._compared(baselines, images, shared=True), each)

    def _compared(self, baselines: slice, images: slice, *, shared: bool) -> _Part:
        """Return the same, with baselines that run for each image or once for all."""
        scores = self._scores.of_images(images)
        count, batch = baselines.stop - baselines.start, scores.batch
        # The copies of an image follow each other, so that those of the baselines are copies of
        # one run.
        copies = Copies(count, side_by_side=True)
        target = copies.of_target(scores.target)
        inputs = [copies.of_rows(one[images]) for one in self._inputs.tensors]
        references = [repeat_rows(rows[baselines], batch) for rows in self._rows]
        run = self._comparison(
            [rows[:count] for rows in references] if shared else references,
            (baselines.start, count, images.start if scores.has_own_arguments else -1),
            lambda short: self._method._compared_with(
                short, target, scores.arguments_for(copies), self._of, shared=shared
            ),
        )
        found, delta = self._method._solved(run, inputs, references, target, self._custom, self._of)
        self._demand_rows(found, count * batch)
        sums = with_tensors(found, partial(_summed_beside, count, batch))
        return sums, with_tensors(delta, lambda one: one.unflatten(0, (batch, count)))

    def _demand_rows(self, found: Any, pairs: int) -> None:
        """Check that the rows of what is attributed to are those of the pairs.

        Raises:
            LayerError: they are something else.
        """
        expected = [length * pairs / max(self._scores.batch, 1) for length in self._lengths]
        lengths = [len(one) if one.dim() else 1 for one in tensors_of(found)]
        if lengths != expected:
            raise LayerError(
                f"{self._method.title} runs several images and baselines at once, but the layer's"
                " first dimension is not that of the batch; choose another layer"
            )

    def _comparison(
        self,
        references: Sequence[Tensor],
        which: tuple[int, ...],
        run: Callable[[Sequence[Tensor]], Comparison],
    ) -> Comparison:
        """Return the run of some baselines, which serves all images with the same arguments."""
        wanted = (*which, len(references[0]))
        if self._run is None or self._run_for != wanted:
            self._run = None  # Frees its memory first.
            self._run = run(references)
            self._run_for = wanted
        return self._run


def _together(rows: Sequence[Tensor], inputs: Inputs) -> list[Tensor]:
    """Return equally many rows for each input, in the form of its examples."""
    counts = {len(one) for one in rows} - {1}
    if len(counts) > 1:
        raise ShapeError(
            f"baselines have {', '.join(map(str, sorted(counts)))} rows for different inputs; pass"
            " equally many for each, since the rows of a baseline belong together"
        )
    count = max(counts, default=1)
    return [
        one.expand(count, *tensor.shape[1:])
        for one, tensor in zip(rows, inputs.tensors, strict=True)
    ]


def _summed(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(0)


def _summed_beside(count: int, batch: int, values: Tensor) -> Tensor:
    """Return the sums over copies of each image that are side by side."""
    rows = len(values) // max(batch * count, 1)
    return values.reshape(batch, count, rows, *values.shape[1:]).sum(1).flatten(0, 1)


def _of_targets(delta: Tensor) -> Tensor:
    """Return `(N, baselines, targets)` with the baselines of an example side by side."""
    return delta.flatten(0, 1)


def _of_one(delta: Tensor) -> Tensor:
    return _of_targets(delta)[:, 0]
