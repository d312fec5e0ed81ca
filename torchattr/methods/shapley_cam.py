"""ShapleyCAM: Grad-CAM with the curvature of the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchattr.core.device_faults import is_out_of_memory, raise_if_lost
from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import joined, with_tensors
from torchattr.core.targets import Neuron, each, select_scores
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.errors import Hint, LayerError, TargetError, WayOut
from torchattr.layers import NotNative, PlainTrace, nodes_of
from torchattr.methods._gradient.backward_pass import PassResult, calls_of, edges_of
from torchattr.methods._gradient.connections import ConnectionCheck
from torchattr.methods._gradient.grids import LayoutChoice
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods._gradient.rows import per_example, require_rows
from torchattr.methods._perturbation.memory_budget import first_line
from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.grad_cam import mean_gradients
from torchattr.methods.registry import register_method


@register_method("shapley_cam")
class ShapleyCAM(ClassActivationMap):
    """Activations weighted by mean gradients and curvature: `Σ_c A_c · mean_p (g − ½ H A)_cp`.

    `H A` is the product of the score's second derivative at the layer with its activations: what a
    channel adds to the score when it is taken away from all others, to second order. The score is
    `s_c + log p_c` by default (`log_probability`), since scores of piecewise linear networks have
    no curvature. The map is `(N, 1, h, w)`. Cai 2025, arXiv:2501.06261.

    It is *not* a Shapley value, but an approximation of one that takes the score for quadratic.

    Args:
        log_probability: add the logarithm of the class' probability to its score.

    All others, and errors, are those of :class:`ClassActivationMap`.

    Raises:
        TargetError: `log_probability` with an output that is not `(N, classes)`, or with a target
            that is no class.
        LayerError: the model's graph cannot be differentiated twice, or a module of it is in
            training mode or not known.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... ).eval()
    >>> ta.ShapleyCAM(model, layer="0").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        log_probability: bool = True,
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, layer, calls=calls, layout=layout, output=output)
        self.log_probability = log_probability

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return mean_gradients(gradients) * values

    def shares_forward(self, **options: Any) -> bool:
        return False  # Its graph must be PyTorch's own, to be differentiated twice.

    def _attribute(
        self, inputs: Tensors, target: Any, additional_forward_args: Any, **options: Any
    ) -> Any:
        if self.log_probability and (callable(target) or isinstance(target, Neuron)):
            raise TargetError(
                f"log_probability needs a class of the output as the target, got {target!r}; pass"
                " log_probability=False for another score"
            )
        given = as_inputs(inputs)
        run = _CurvedRun(self, given, as_arguments(additional_forward_args), target, options)
        maps = [self.combine(given, run.results(single), **options) for single in run.targets]
        if not run.several:
            return maps[0]
        apart = [with_tensors(one, lambda tensor: tensor.unsqueeze(1)) for one in maps]
        return joined(apart, partial(torch.cat, dim=1))

    def _settings(self) -> dict[str, Any]:
        return {"log_probability": self.log_probability, **super()._settings()}


class _CurvedRun:
    """One forward on PyTorch's own graph, and the first two derivatives of a score."""

    def __init__(
        self,
        method: ShapleyCAM,
        inputs: Inputs,
        arguments: Sequence[Any],
        target: Any,
        options: dict[str, Any],
    ) -> None:
        self._method = method
        asked = method.passes(inputs, arguments, target=target, **options)
        self._names = [request.name for request in asked]
        taps = [request.tap for request in asked if request.tap is not None]
        self._trace = _plain(method.model, inputs, arguments, taps=taps, key=method.output)
        self._calls = [calls_of(self._trace, inputs, request) for request in asked]
        self._output = per_example(
            self._trace.output, inputs, method.model, arguments, method.output
        )
        self.targets, self.several = each(target, self._output)
        scores = [self._score(single) for single in self.targets]
        require_rows(scores, inputs)
        check = ConnectionCheck(self._trace, inputs, scores, lambda: None)
        for name, calls in zip(self._names, self._calls, strict=True):
            check.demand(method.title, name, calls)

    def results(self, single: Any) -> list[PassResult]:
        """Return each layer's values with `g − ½ H A` in the place of gradients."""
        edges = [edge for edge in edges_of(self._calls) if edge is not None]
        pairs = zip(self._names, self._calls, strict=True)
        try:
            with gradients():
                score = self._score(single).sum()
                first = torch.autograd.grad(score, edges, create_graph=True, allow_unused=True)
            slopes = iter(first)
            return [self._result(name, calls, slopes) for name, calls in pairs]
        except RuntimeError as error:
            raise_if_lost(error)
            if is_out_of_memory(error):
                raise
            raise _refusal(error) from error

    def _result(self, name: str, calls: Sequence[Any], slopes: Any) -> PassResult:
        corrected, detached = [], []
        for call in calls:
            values = tuple(value.detach() for value in call.values)
            pairs = zip(values, call.edges, strict=True)
            corrected.append(tuple(_corrected(value, edge, slopes) for value, edge in pairs))
            detached.append(replace(call, values=values))
        return PassResult(name, tuple(detached), tuple(corrected))

    def _score(self, single: Any) -> Tensor:
        with gradients():
            score = select_scores(self._output, single)
            if not self._method.log_probability:
                return score
            if self._output.dim() != 2:
                raise TargetError(
                    "log_probability needs scores (N, classes), but the output has shape"
                    f" {tuple(self._output.shape)}; pass log_probability=False"
                )
            return score + select_scores(self._output.log_softmax(1), single)


def _corrected(value: Tensor, edge: Any, slopes: Any) -> Tensor:
    slope = next(slopes) if edge is not None else None
    if slope is None:
        return torch.zeros_like(value)
    if not slope.requires_grad:
        return slope
    # PyTorch takes a gradient without a derivative of its own for a constant.
    if any(type(node).__name__ == "Error" for node in nodes_of(slope)):
        raise RuntimeError("a function of the model has a gradient without a derivative of its own")
    along: Any = [edge]
    (curved,) = torch.autograd.grad(slope, along, value, retain_graph=True, allow_unused=True)
    return (slope if curved is None else slope - curved / 2).detach()


def _plain(model: Forward, inputs: Inputs, arguments: Sequence[Any], **options: Any) -> PlainTrace:
    try:
        return PlainTrace(model, inputs.tensors, arguments, **options)
    except NotNative as reason:
        raise _refusal(reason) from reason


def _refusal(reason: Exception) -> LayerError:
    said, others = first_line(reason), WayOut("GradCAM and HiResCAM need one derivative only")
    # Set here, it would reach all other threads as well.
    unfused = WayOut(
        "run it under torch.nn.attention.sdpa_kernel(SDPBackend.MATH), since fused attention has no"
        " second derivative"
    )
    return LayerError(
        f"ShapleyCAM differentiates twice, which is not possible here: {said}",
        hint=Hint(ways_out=[unfused, others] if "scaled_dot_product" in said else [others]),
    )
