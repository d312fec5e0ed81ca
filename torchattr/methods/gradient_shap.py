"""Gradient SHAP: gradients at random points between random baselines and the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.rounding import in_single
from torchattr.core.targets import Target
from torchattr.core.types import Tensors, TensorsT
from torchattr.methods._gradient.baselines import BaselineDistribution, BaselineRows
from torchattr.methods._gradient.rows import beside_targets
from torchattr.methods._perturbation.checked import checked_count, checked_seeds, checked_stdevs
from torchattr.methods._perturbation.path_samples import PathSamples, SampledPaths
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods.path_attribution import (
    PathAttribution,
    check_internal_batch,
    convergence_delta,
)
from torchattr.methods.registry import register_method


@register_method("gradient_shap")
class GradientShap(PathAttribution):
    """`E[(x' − b) · ∂s/∂x (b + α (x' − b))]` over random b, α and x', shaped like the input.

    The baseline b is drawn from the given ones, α uniformly from 0 to 1, and x' is the input, with
    Gaussian noise if asked for. Without noise these are the expected gradients of Erion et al.
    2019, arXiv:1906.10670: integrated gradients, averaged over the baselines.

    The attributions of a sample sum to `s(x') − s(b)` on average over α. The result is a random
    estimate, whose error falls with the square root of the number of samples, and which
    `return_convergence_delta` shows. It does *not* give the SHAP values of Lundberg and Lee 2017,
    arXiv:1705.07874, even on average, unless the score is a sum of functions of single elements;
    where elements interact, it is an approximation.

    Args:
        multiply_by_inputs: multiply by `x' − b`; otherwise the mean gradient itself.
        rules: rules for the backward, as for :class:`GradientAttribution`; by default none, so it
            is the plain gradient.
        strict: as for :class:`GradientAttribution`.
        memory: as for :class:`GradientAttribution`.

    >>> import torch, torchattr as ta
    >>> model, x, others = torch.nn.Linear(3, 2), torch.ones(1, 3), torch.rand(20, 3)
    >>> maps, delta = ta.GradientShap(model).attribute(
    ...     x, others, n_samples=8, target=1, return_convergence_delta=True
    ... )
    >>> maps.shape, delta.shape, bool(delta.abs().max() < 1e-5)
    (torch.Size([1, 3]), torch.Size([8]), True)
    """

    @overload
    def attribute(
        self,
        inputs: TensorsT,
        baselines: BaselineDistribution = None,
        n_samples: int = 50,
        stdevs: float | tuple[float, ...] = 0.0,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: Literal[False] = False,
        *,
        seed: int | Sequence[int] = 0,
        internal_batch_size: int | None = None,
    ) -> TensorsT: ...

    @overload
    def attribute(
        self,
        inputs: TensorsT,
        baselines: BaselineDistribution = None,
        n_samples: int = 50,
        stdevs: float | tuple[float, ...] = 0.0,
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        return_convergence_delta: Literal[True],
        seed: int | Sequence[int] = 0,
        internal_batch_size: int | None = None,
    ) -> tuple[TensorsT, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Tensors,
        baselines: BaselineDistribution = None,
        n_samples: int = 50,
        stdevs: float | tuple[float, ...] = 0.0,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        *,
        seed: int | Sequence[int] = 0,
        internal_batch_size: int | None = None,
    ) -> Any: ...

    def attribute(
        self,
        inputs: Tensors,
        baselines: Any = None,
        n_samples: int = 50,
        stdevs: float | tuple[float, ...] = 0.0,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        *,
        seed: int | Sequence[int] = 0,
        internal_batch_size: int | None = None,
    ) -> Any:
        """Return the attributions, shaped like the inputs.

        What is drawn for a sample depends on its number and the seed alone, so that an example
        gets the same attributions in a batch of any size, run in any parts, on any device and in
        any dtype.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            baselines: the baselines to draw from: a tensor `(rows, ...)` with any number of rows,
                each in the form of an example, or a number; one for each input, of which rows are
                drawn together if there are equally many. Or a function of the inputs, or of
                nothing, that returns such. 0 by default.
            n_samples: number of samples for each example.
            stdevs: the standard deviation of the noise, in the units of the input; a tuple has one
                for each input.
            target: as for every method; the predicted class is that of the input without noise.
            additional_forward_args: as for every method.
            return_convergence_delta: return `(attributions, delta)`: for each sample also how far
                the sum of its attributions is from `s(x') − s(b)`, the samples of an example side
                by side. The mean of an example's deltas is that of its attributions.
            seed: seed of what is drawn, 0 or more. All examples share what is drawn from one seed;
                a list has one for each example.
            internal_batch_size: examples in one forward, at most (but at least the batch); `None`
                takes as many as memory allows. Halved when memory runs out.

        Raises:
            InputTypeError: an argument of the wrong type, or baselines that are not floating.
            ShapeError: baselines in another form than the examples, or a wrong number of them.
            InputError: an argument out of range, or baselines that are not finite.
            OutputError: the model does not return one row of scores for each example.
            OutOfMemory: not even one sample fits.
        """
        given = as_inputs(inputs)
        rows = BaselineRows(baselines, given)
        count = checked_count(n_samples, "n_samples")
        seeds = checked_seeds(seed, given)
        samples = PathSamples(given, rows, checked_stdevs(stdevs, given), seeds)
        check_internal_batch(internal_batch_size, given.batch_size, "sample")
        arguments = as_arguments(additional_forward_args)
        scores = self._scores(given, target, arguments)
        deltas = _no_deltas(scores, count) if return_convergence_delta else None
        evaluate = self._on_paths(given, samples, arguments, scores, deltas)
        sums = self._summed(count, evaluate, scores, given, internal_batch_size, "sample")
        means = [(total / count).to(x.dtype) for total, x in zip(sums, given.tensors, strict=True)]
        if deltas is None:
            return given.restore(means)
        return given.restore(means), deltas.transpose(0, 1).flatten(0, 1)

    def _on_paths(
        self,
        inputs: Inputs,
        samples: PathSamples,
        arguments: Sequence[Any],
        scores: TargetScores,
        deltas: Tensor | None,
    ) -> Callable[[int, int], list[Tensor]]:
        """Return what sums the attributions of some samples, and fills in their deltas."""

        def evaluate(first: int, last: int) -> list[Tensor]:
            paths, copies = samples.drawn(first, last), last - first
            grads = self._gradients(
                as_batch(paths.points, inputs), arguments, scores, inputs.batch_size
            )
            results = [in_single(grad) for grad in grads]
            if self.multiply_by_inputs:
                results = _times(results, paths.differences)
            if deltas is not None:
                risen = _risen(paths, samples, scores, inputs, copies)
                delta = convergence_delta(results, scores, risen.flatten(0, 1))
                deltas[first:last] = delta.reshape(deltas[first:last].shape)
            return [_in_copies(result, copies, inputs).sum(0) for result in results]

        return evaluate


def _no_deltas(scores: TargetScores, count: int) -> Tensor:
    """Return zeros for the delta of each sample: `(samples, N)`, or `(samples, N, targets)`."""
    shape = scores.clean.shape if scores.several else scores.clean.shape[:1]
    return scores.clean.new_zeros(count, *shape)


def _risen(
    paths: SampledPaths, samples: PathSamples, scores: TargetScores, inputs: Inputs, copies: int
) -> Tensor:
    """Return how far the scores rise on each path: `(samples, N, targets)`."""
    ends = scores.of(as_batch(paths.ends, inputs), copies) if samples.noisy else scores.clean
    return ends - scores.of(as_batch(paths.starts, inputs), copies)


def as_batch(values: Sequence[Tensor], inputs: Inputs) -> list[Tensor]:
    """Return samples `(samples, N, ...)` as batches that the model can be given."""
    return [
        value.flatten(0, 1).to(tensor.dtype)
        for value, tensor in zip(values, inputs.tensors, strict=True)
    ]


def _times(grads: Sequence[Tensor], differences: Sequence[Tensor]) -> list[Tensor]:
    return [
        beside_targets(difference.flatten(0, 1), grad) * grad
        for grad, difference in zip(grads, differences, strict=True)
    ]


def _in_copies(result: Tensor, copies: int, inputs: Inputs) -> Tensor:
    return result.reshape(copies, inputs.batch_size, *result.shape[1:])
