"""Layer conductance: how much of the score's rise from a baseline passes each value of a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import joined
from torchattr.core.rounding import in_single
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Forward, Layers, OutputKey, Tensors
from torchattr.methods._gradient.baselines import fixed_baselines
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods._gradient.memory import Memory
from torchattr.methods._perturbation.quadrature import as_copies, points_between, quadrature
from torchattr.methods.layer_paths import LayerPathAttribution, LayerRun
from torchattr.methods.path_attribution import check_internal_batch


class LayerConductance(LayerPathAttribution):
    """`∫ ∂s/∂z dz` of a layer's values z along the path, shaped like its output.

    Dhamdhere, Sundararajan and Yan 2018, arXiv:1805.12233, as the sum
    `Σ_k ∂s/∂z (x_k) · (z(x_k+1) − z(x_k))` over points on the straight line from a baseline to the
    input (Shrikumar et al. 2018, arXiv:1807.09946). A tuple if the layer returns a tuple; a dict by
    name for several layers, all from the same forwards.

    If all of the score passes the layer, the attributions sum to `s(x) − s(b)` up to the error of
    the sum, which `return_convergence_delta` returns and which falls with the number of steps. It
    is *not* independent of the baseline.

    Args:
        layer: as for :class:`GradCAM`.
        calls: as for :class:`GradCAM`.
        rules: rules for the backward, as for :class:`GradientAttribution`; by default none, so it
            is the plain gradient.
        strict: as for :class:`GradientAttribution`.
        memory: as for :class:`GradientAttribution`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> maps, delta = ta.LayerConductance(model, "1").attribute(
    ...     torch.ones(1, 3), target=1, return_convergence_delta=True
    ... )
    >>> maps.shape, bool(delta.abs() < 0.01)
    (torch.Size([1, 4]), True)
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        calls: Calls | None = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(
            model, layer, calls=calls, rules=rules, output=output, strict=strict, memory=memory
        )

    def attribute(
        self,
        inputs: Tensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        *,
        allow_unused: bool = False,
    ) -> Any:
        """Return the conductance of each layer, in the form of its output.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            baselines: as for :meth:`IntegratedGradients.attribute`.
            target: as for every method; the predicted class is that of the input.
            additional_forward_args: as for every method.
            n_steps: number of steps between points on the path.
            method: where the points lie: those of an integral with one more step, as for
                :meth:`IntegratedGradients.attribute`.
            internal_batch_size: examples in one forward, at most (but at least the batch), of which
                one copy of the batch only closes the last step; `None` takes as many as memory
                allows. Halved when memory runs out.
            return_convergence_delta: return `(attributions, delta)`: for each example also how far
                the sum of a layer's attributions is from `s(x) − s(b)`.
            attribute_to_layer_input: use the layer's input instead of its output.
            allow_unused: give zeros to a layer that the target does not depend on, instead of
                refusing it.

        Raises:
            InputError: an unknown `method`, too few steps, or baselines that are not finite.
            LayerError: an unknown layer, or one that did not run.
            OutputError: the model does not return one row of scores for each example.
            OutOfMemory: not even one step fits.
        """
        given = as_inputs(inputs)
        starts = fixed_baselines(baselines, given)
        alphas = quadrature(method, n_steps, further=1)[0]
        check_internal_batch(internal_batch_size, given.batch_size, "step")
        arguments = as_arguments(additional_forward_args)
        of_input = attribute_to_layer_input
        run = LayerRun(self, given, target, arguments, of_input, allow_unused)
        total = self._summed(
            n_steps,
            _on_path(run, given, starts, alphas),
            run.scores,
            given,
            internal_batch_size,
            "step",
            beside=1,
        )
        found = run.like_values(total)
        if not return_convergence_delta:
            return found
        rise = run.scores.clean - run.scores.of(starts)[0]
        return found, self._deltas(found, run, rise)


def _on_path(
    run: LayerRun, inputs: Inputs, starts: Sequence[Tensor], alphas: Sequence[float]
) -> Callable[[int, int], Any]:
    """Return what sums over some steps."""

    def at(first: int, last: int) -> list[Tensor]:
        return points_between(starts, inputs.tensors, alphas[first:last])

    def evaluate(first: int, last: int) -> Any:
        copies = last - first + 1
        if copies > 2:
            values, gradients = run.at(at(first, last + 1), copies)
            return joined([values, gradients], partial(_conducted, copies))
        # One copy of the batch at a time: the least memory, and a layer may have any form.
        values, gradients = run.at(at(first, last), 1)
        behind = run.values(run.scores.traced(at(last, last + 1)))
        return joined([values, gradients, behind], _conducted_by_step)

    return evaluate


def _conducted(copies: int, pair: Sequence[Tensor]) -> Tensor:
    values, gradients = (in_single(as_copies(one, copies)) for one in pair)
    return ((values[1:] - values[:-1]) * gradients[:-1]).sum(0)


def _conducted_by_step(triple: Sequence[Tensor]) -> Tensor:
    values, gradients, behind = map(in_single, triple)
    behind = behind.unsqueeze(1) if values.dim() > behind.dim() else behind
    return torch.mul(behind - values, gradients)
