"""Gradient SHAP at layers: gradients at random points, times differences of the layer's values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import joined, with_tensors
from torchattr.core.rounding import in_single
from torchattr.core.targets import Target
from torchattr.core.types import Tensors
from torchattr.methods._gradient.baselines import BaselineDistribution, BaselineRows
from torchattr.methods._gradient.rows import beside_targets
from torchattr.methods._perturbation.batch_repeat import repeat_rows
from torchattr.methods._perturbation.checked import checked_count, checked_seeds, checked_stdevs
from torchattr.methods._perturbation.path_samples import PathSamples, SampledPaths
from torchattr.methods._perturbation.quadrature import as_copies
from torchattr.methods.gradient_shap import as_batch
from torchattr.methods.layer_paths import LayerPathAttribution, LayerRun
from torchattr.methods.path_attribution import check_internal_batch


class LayerGradientShap(LayerPathAttribution):
    """`E[(z(x') − z(b)) · ∂s/∂z (b + α (x' − b))]` of a layer's values z, shaped like its output.

    :class:`GradientShap` at a layer (Erion et al. 2019, arXiv:1906.10670): the baseline b is drawn
    from the given ones, α uniformly from 0 to 1, and x' is the input, with Gaussian noise if asked
    for. A tuple if the layer returns a tuple; a dict by name for several layers, all from the same
    forwards.

    The result is a random estimate, and *not* the SHAP values. Its sum approaches the mean of
    `s(x') − s(b)` only where the layer's values are a linear function of the input; otherwise the
    straight path of the input is none of the layer's, and :class:`LayerConductance` is what sums.

    Args:
        layer: as for :class:`GradCAM`.
        multiply_by_inputs: multiply by `z(x') − z(b)`; otherwise the mean gradient itself.
        calls: as for :class:`GradCAM`.
        rules: rules for the backward, as for :class:`GradientAttribution`; by default none, so it
            is the plain gradient.
        strict: as for :class:`GradientAttribution`.
        memory: as for :class:`GradientAttribution`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> maps, delta = ta.LayerGradientShap(model, "1").attribute(
    ...     torch.ones(1, 3), torch.rand(9, 3), n_samples=8, target=1, return_convergence_delta=True
    ... )
    >>> maps.shape, delta.shape
    (torch.Size([1, 4]), torch.Size([8]))
    """

    def attribute(
        self,
        inputs: Tensors,
        baselines: BaselineDistribution = None,
        n_samples: int = 50,
        stdevs: float | tuple[float, ...] = 0.0,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        *,
        seed: int | Sequence[int] = 0,
        internal_batch_size: int | None = None,
    ) -> Any:
        """Return the attributions of each layer, in the form of its output.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            baselines: as for :meth:`GradientShap.attribute`.
            n_samples: number of samples for each example.
            stdevs: as for :meth:`GradientShap.attribute`.
            target: as for every method; the predicted class is that of the input without noise.
            additional_forward_args: as for every method.
            return_convergence_delta: return `(attributions, delta)`: for each sample also how far
                the sum of a layer's attributions is from `s(x') − s(b)`, the samples of an example
                side by side.
            attribute_to_layer_input: use the layer's input instead of its output.
            seed: as for :meth:`GradientShap.attribute`.
            internal_batch_size: as for :meth:`GradientShap.attribute`.

        Raises:
            InputTypeError: an argument of the wrong type, or baselines that are not floating.
            ShapeError: baselines in another form than the examples, or a wrong number of them.
            InputError: an argument out of range, or baselines that are not finite.
            LayerError: an unknown layer, or one that did not run.
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
        run = LayerRun(self, given, target, arguments, attribute_to_layer_input)
        deltas: dict[int, Any] | None = {} if return_convergence_delta else None
        evaluate = self._on_paths(given, samples, run, deltas)
        sums = self._summed(count, evaluate, run.scores, given, internal_batch_size, "sample")
        found = run.like_values(with_tensors(sums, lambda total: total / count))
        if deltas is None:
            return found
        return found, joined([deltas[number] for number in range(count)], _side_by_side)

    def _on_paths(
        self,
        inputs: Inputs,
        samples: PathSamples,
        run: LayerRun,
        deltas: dict[int, Any] | None,
    ) -> Callable[[int, int], Any]:
        """Return what sums the attributions of some samples, and notes their deltas by number."""

        def evaluate(first: int, last: int) -> Any:
            paths, copies = samples.drawn(first, last), last - first
            found = run.at(as_batch(paths.points, inputs), copies)[1]
            if self.multiply_by_inputs or deltas is not None:
                differences, rise = _rises(run, inputs, paths, copies, samples.noisy)
                if self.multiply_by_inputs:
                    found = joined([differences, found], _product)
                if deltas is not None:
                    missed = self._deltas(found, run, rise)
                    for number in range(copies):
                        own = with_tensors(missed, partial(_of_copy, copies, number))
                        deltas[first + number] = own
            return with_tensors(found, lambda one: in_single(as_copies(one, copies)).sum(0))

        return evaluate


def _rises(
    run: LayerRun, inputs: Inputs, paths: SampledPaths, copies: int, noisy: bool
) -> tuple[Any, Tensor]:
    """Return how much the layers' values and the scores rise on each path."""
    begin = run.scores.traced(as_batch(paths.starts, inputs), copies)
    values, scores = run.clean, run.scores.clean
    if noisy:
        end = run.scores.traced(as_batch(paths.ends, inputs), copies)
        values, scores = run.values(end, copies), run.scores.read(end, copies)
    else:
        values = with_tensors(values, lambda one: repeat_rows(one, copies))
    differences = joined([values, run.values(begin, copies)], lambda pair: pair[0] - pair[1])
    return differences, (scores - run.scores.read(begin, copies)).flatten(0, 1)


def _product(pair: Sequence[Tensor]) -> Tensor:
    difference, gradient = pair
    return in_single(beside_targets(difference, gradient)) * in_single(gradient)


def _of_copy(copies: int, number: int, values: Tensor) -> Tensor:
    return as_copies(values, copies)[number]


def _side_by_side(deltas: Sequence[Tensor]) -> Tensor:
    """Return the deltas of all samples, those of an example next to each other."""
    return torch.stack(list(deltas), 1).flatten(0, 1)
