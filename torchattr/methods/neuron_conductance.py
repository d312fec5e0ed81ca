"""Neuron conductance: how much of the score's rise from an input passes a neuron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.outputs import select_output
from torchattr.core.pytree import joined
from torchattr.core.select import find_layer
from torchattr.core.targets import Neuron, Target
from torchattr.core.types import Baselines, Forward, OutputKey, Tensors
from torchattr.errors import InputTypeError
from torchattr.layers import Captured, TapPoint, why_disconnected
from torchattr.methods._gradient.baselines import fixed_baselines
from torchattr.methods._gradient.connections import ConnectionCheck
from torchattr.methods._gradient.forward_result import ForwardResult
from torchattr.methods._gradient.rows import per_example
from torchattr.methods._gradient.run_forward import run_forward
from torchattr.methods._gradient.target_reader import TargetReader, last_call, select_neuron
from torchattr.methods._perturbation.batch_repeat import Copies
from torchattr.methods._perturbation.quadrature import (
    points_between,
    quadrature,
    weighted_copies,
)
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods.path_attribution import PathAttribution, check_internal_batch


class NeuronConductance(PathAttribution):
    """`(x − b) · ∫₀¹ ∂s/∂z · ∂z/∂x (b + α (x − b)) dα` of a neuron z, shaped like the input.

    Dhamdhere, Sundararajan and Yan 2018, arXiv:1805.12233: the part of :class:`IntegratedGradients`
    that passes the neuron. For several neurons it is the sum of their conductances, and for all
    neurons of a layer that all of the score passes, integrated gradients again.

    It is *not* the attribution of the neuron's own value; that is :class:`IntegratedGradients` with
    a :class:`Neuron` as target.

    Each point takes one forward and two backwards.

    Args:
        multiply_by_inputs: multiply by `x − b`; otherwise the mean of the products of gradients.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> x, method = torch.ones(1, 3), ta.NeuronConductance(model)
    >>> parts = [method.attribute(x, ta.Neuron("1", n), target=1, n_steps=200) for n in range(4)]
    >>> whole = ta.IntegratedGradients(model).attribute(x, target=1, n_steps=200)
    >>> parts[0].shape, torch.allclose(sum(parts), whole, atol=1e-2)
    (torch.Size([1, 3]), True)
    """

    def __init__(
        self, model: Forward, multiply_by_inputs: bool = True, *, output: OutputKey = None
    ) -> None:
        super().__init__(model, multiply_by_inputs, output=output)

    def attribute(
        self,
        inputs: Tensors,
        neuron: Neuron,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "riemann_trapezoid",
        internal_batch_size: int | None = None,
        *,
        allow_unused: bool = False,
    ) -> Any:
        """Return the conductance from each element of the inputs, shaped like them.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            neuron: the neuron, or several whose conductances are summed. A callable selector must
                be linear: it may choose and weigh values.
            baselines: as for :meth:`IntegratedGradients.attribute`.
            target: as for every method: what the neuron contributes to.
            additional_forward_args: as for every method.
            n_steps: number of points on the path.
            method: as for :meth:`IntegratedGradients.attribute`.
            internal_batch_size: as for :meth:`IntegratedGradients.attribute`.
            allow_unused: return zeros for a layer that the target does not depend on, instead of
                refusing it.

        Raises:
            InputTypeError: `neuron` is no :class:`Neuron`.
            InputError: an unknown `method`, too few steps, or baselines that are not finite.
            TargetError: the selector does not fit the layer's values.
            DisconnectedError: the target does not depend on the layer, or that on the inputs.
            OutputError: the model does not return one row of scores for each example.
            OutOfMemory: not even one step fits.
        """
        given = as_inputs(inputs)
        tap = _tap_of(self.model, neuron)
        starts = fixed_baselines(baselines, given)
        alphas, weights = quadrature(method, n_steps)
        check_internal_batch(internal_batch_size, given.batch_size, "step")
        arguments = as_arguments(additional_forward_args)
        scores = self._scores(given, target, arguments)

        def evaluate(first: int, last: int) -> list[Tensor]:
            points = points_between(starts, given.tensors, alphas[first:last])
            path = _ThroughNeuron(self.model, points, scores, last - first, self.output)
            found = path.gradients(self.title, tap, neuron, allow_unused)
            return [weighted_copies(one, weights[first:last]) for one in found]

        means = self._summed(len(alphas), evaluate, scores, given, internal_batch_size, "step")
        return given.restore(self._finished(given, starts, means))


class _ThroughNeuron:
    """A forward of some points of the path, and the gradients that pass a neuron."""

    def __init__(
        self,
        model: Forward,
        points: Sequence[Tensor],
        scores: TargetScores,
        copies: int,
        key: OutputKey,
    ) -> None:
        self._model, self._key = model, key
        self._inputs = Inputs(tuple(points), True)
        self._arguments = scores.arguments_for(Copies(copies))
        self._targets = [Copies(copies).of_target(target) for target in scores.targets]
        self._several = scores.several
        self._reader = TargetReader(model, scores.target)

    def gradients(
        self, title: str, tap: TapPoint, neuron: Neuron, allow_unused: bool
    ) -> list[Tensor]:
        """Return the gradient of each input that passes the neuron, for all targets."""
        forward = run_forward(
            self._model,
            self._inputs.tensors,
            self._arguments,
            tables=[{}],
            taps=list(dict.fromkeys([tap, *self._reader.taps])),
            key=self._key,
            from_inputs=True,
            of_output=False,
            # PyTorch's own graph may be too large, or used up by gradients of the model's own.
            memory="lean",
        )
        with gradients():
            output = per_example(
                forward.output, self._inputs, self._model, self._arguments, self._key
            )
            scores = [self._reader.read(forward, output, target) for target in self._targets]
        call = last_call(forward, tap)
        if not allow_unused:
            check = ConnectionCheck(forward, self._inputs, scores, self._cause)
            check.demand(title, str(neuron.layer), [call])
        found = [self._of_target(forward, one, call, neuron) for one in scores]
        if not self._several:
            return found[0]
        return joined(found, partial(torch.stack, dim=1))

    def _of_target(
        self, forward: ForwardResult, scores: Tensor, call: Captured, neuron: Neuron
    ) -> list[Tensor]:
        above = forward.gradients(scores, call.edges)
        with gradients():
            passing = [
                value * (torch.zeros_like(value) if one is None else one)
                for value, one in zip(call.values, above, strict=True)
            ]
            chosen = select_neuron(replace(call, values=tuple(passing)), neuron.selector)
        found = forward.gradients(chosen, forward.input_edges)
        return [
            torch.zeros_like(x) if one is None else one
            for x, one in zip(self._inputs.tensors, found, strict=True)
        ]

    def _cause(self) -> str | None:
        select: Callable[[Any], Tensor] = partial(_scores_in, key=self._key)
        return why_disconnected(self._model, self._inputs.tensors, self._arguments, select)


def _scores_in(output: Any, key: OutputKey) -> Tensor:
    return select_output(output, key)


def _tap_of(model: Forward, neuron: Any) -> TapPoint:
    if not isinstance(neuron, Neuron):
        raise InputTypeError(
            f"neuron must be a Neuron, got {type(neuron).__name__}; pass ta.Neuron(layer, selector)"
        )
    return TapPoint(find_layer(model, neuron.layer)[1], neuron.of_input)
