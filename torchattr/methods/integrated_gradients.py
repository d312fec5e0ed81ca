"""Integrated gradients: the mean gradient on the path from a baseline, times its length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_baselines, as_inputs
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Forward, OutputKey, Tensors, TensorsT
from torchattr.core.warn import warn
from torchattr.errors import InputError, InputTypeError, TorchattrWarning
from torchattr.methods._gradient.memory import Memory
from torchattr.methods._gradient.passes import MethodCall, solve
from torchattr.methods._perturbation.batch_repeat import repeat_arguments, repeat_target
from torchattr.methods._perturbation.memory_budget import fitting, in_batches
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores, require_copies
from torchattr.methods.base import Attribution, GradientAttribution
from torchattr.methods.registry import register_method

Quadrature = tuple[Sequence[float], Sequence[float]]


class _StepGradient(GradientAttribution):
    """The gradient at the steps, under the title of the method that needs it."""

    @property
    def title(self) -> str:
        return IntegratedGradients.__name__


@register_method("integrated_gradients")
class IntegratedGradients(Attribution):
    """`(x − b) · ∫₀¹ ∂s/∂x (b + α (x − b)) dα`, shaped like the input.

    Sundararajan, Taly and Yan 2017, arXiv:1703.01365.

    The sum of the attributions is `s(x) − s(b)` up to the error of the numerical integral, which
    `return_convergence_delta` returns. It is *not* independent of the baseline: elements that equal
    the baseline (black pixels, for zeros) get 0, whether or not they matter.

    Args:
        multiply_by_inputs: multiply by `x − b`; otherwise the mean gradient itself.
        rules: rules for the backward, as for :class:`GradientAttribution`; by default none, so it
            is the plain gradient.
        strict: as for :class:`GradientAttribution`.
        memory: as for :class:`GradientAttribution`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Linear(3, 2)
    >>> maps, delta = ta.IntegratedGradients(model).attribute(
    ...     torch.ones(1, 3), target=1, return_convergence_delta=True
    ... )
    >>> maps.shape, bool(delta.abs() < 1e-5)
    (torch.Size([1, 3]), True)
    """

    def __init__(
        self,
        model: Forward,
        multiply_by_inputs: bool = True,
        *,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(model, output=output)
        self._gradient = _StepGradient(
            model, rules=rules, output=output, strict=strict, memory=memory
        )
        self.multiply_by_inputs = multiply_by_inputs

    def _settings(self) -> dict[str, Any]:
        by_inputs = None if self.multiply_by_inputs else False
        return {"multiply_by_inputs": by_inputs, **self._gradient._settings()}

    @overload
    def attribute(
        self,
        inputs: TensorsT,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: Literal[False] = False,
    ) -> TensorsT: ...

    @overload
    def attribute(
        self,
        inputs: TensorsT,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        *,
        return_convergence_delta: Literal[True],
    ) -> tuple[TensorsT, Tensor]: ...

    @overload
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
    ) -> Any: ...

    def attribute(
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        """Return the attributions, shaped like the inputs.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            baselines: where the path starts: a number or a tensor that broadcasts to the input,
                one for each input; 0 by default.
            target: as for every method; the predicted class is that of the input.
            additional_forward_args: as for every method.
            n_steps: number of points on the path.
            method: how the integral is approximated: `"gausslegendre"`, `"riemann_left"`,
                `"riemann_right"`, `"riemann_middle"` or `"riemann_trapezoid"`.
            internal_batch_size: examples in one forward, at most (but at least the batch);
                `None` takes as many as memory allows. Halved when memory runs out.
            return_convergence_delta: return `(attributions, delta)`: for each example also how far
                the sum of its attributions is from `s(x) − s(b)`.

        Raises:
            InputError: an unknown `method`, too few steps, or baselines that are not finite.
            OutputError: the model does not return one row of scores for each example.
            OutOfMemory: not even one step fits.
        """
        given = as_inputs(inputs)
        starts = _starts(baselines, given)
        rule = _rule(method, n_steps)
        _check_batch(internal_batch_size, given.batch_size)
        arguments = as_arguments(additional_forward_args)
        scores = TargetScores(self.model, given, target, arguments, self.output)
        _require_rows(scores)
        size = _size(internal_batch_size, scores, given)
        means = self._means(given, starts, arguments, scores, rule, size)
        results = self._finished(given, starts, means)
        if not return_convergence_delta:
            return given.restore(results)
        return given.restore(results), _delta(results, scores, starts)

    def compute_convergence_delta(
        self,
        attributions: Tensors,
        start_point: Any,
        end_point: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """Return the sum of the attributions minus `s(end) − s(start)`, one for each example.

        Args:
            attributions: the attributions of the path from `start_point` to `end_point`.
            start_point: as `baselines` of :meth:`attribute`.
            end_point: as its `inputs`.
            target: the same target.
            additional_forward_args: the same arguments.
        """
        given = as_inputs(end_point)
        arguments = as_arguments(additional_forward_args)
        scores = TargetScores(self.model, given, target, arguments, self.output)
        results = attributions if isinstance(attributions, (tuple, list)) else (attributions,)
        return _delta(results, scores, _starts(start_point, given))

    def _means(
        self,
        inputs: Inputs,
        starts: Sequence[Tensor],
        arguments: Sequence[Any],
        scores: TargetScores,
        rule: Quadrature,
        size: int,
    ) -> list[Tensor]:
        """Return the weighted mean of the gradients on the path, for each input."""

        def evaluate(first: int, last: int) -> list[Tensor]:
            points = [
                _points(start, tensor, rule[0][first:last])
                for start, tensor in zip(starts, inputs.tensors, strict=True)
            ]
            grads = self._gradients(points, arguments, scores, inputs.batch_size)
            return [_weighted(grad, rule[1][first:last]) for grad in grads]

        try:
            return _summed(in_batches(len(rule[0]), size, evaluate, "step"))
        except NotPerExample:
            if size == 1 or inputs.batch_size != 1:
                raise
            # A number for a single example: correct as long as it runs one step at a time.
            return _summed(in_batches(len(rule[0]), 1, evaluate, "step"))

    def _gradients(
        self,
        points: Sequence[Tensor],
        arguments: Sequence[Any],
        scores: TargetScores,
        batch_size: int,
    ) -> tuple[Tensor, ...]:
        rows = len(points[0])
        copies = rows // max(batch_size, 1)
        solution = solve(
            self.model,
            Inputs(tuple(points), True),
            repeat_target(scores.target, copies),
            repeat_arguments(arguments, copies, batch_size),
            [MethodCall(self._gradient)],
            key=self.output,
            memory=self._gradient.memory,
            # At a black baseline, for example, many models are flat.
            warns_of_zeros=False,
        )
        if copies > 1:
            require_copies(solution.output, rows)
        return solution.results[0]

    def _finished(
        self, inputs: Inputs, starts: Sequence[Tensor], means: Sequence[Tensor]
    ) -> list[Tensor]:
        if not self.multiply_by_inputs:
            return [mean.to(x.dtype) for x, mean in zip(inputs.tensors, means, strict=True)]
        return [
            (_beside(x.detach() - start, mean) * mean).to(x.dtype)
            for x, start, mean in zip(inputs.tensors, starts, means, strict=True)
        ]


def _require_rows(scores: TargetScores) -> None:
    if not scores.per_example:
        raise NotPerExample(
            f"the model's output for a batch of {scores.batch} does not hold one row for each"
            " example, but is one for all; pass a model that scores each"
        )


def _starts(baselines: Any, inputs: Inputs) -> list[Tensor]:
    starts = [
        torch.as_tensor(value, device=tensor.device).detach().to(tensor.dtype)
        for value, tensor in zip(as_baselines(baselines, inputs), inputs.tensors, strict=True)
    ]
    if not all(bool(start.isfinite().all()) for start in starts):
        raise InputError("baselines hold NaN or infinite values; pass finite ones")
    return [start.expand_as(tensor) for start, tensor in zip(starts, inputs.tensors, strict=True)]


def _rule(method: str, n_steps: int) -> Quadrature:
    """Return the points of `[0, 1]` at which the integrand is evaluated, and their weights."""
    if method not in _RULES:
        raise InputError(f"method must be one of {', '.join(map(repr, _RULES))}, got {method!r}")
    if not isinstance(n_steps, int) or isinstance(n_steps, bool):
        raise InputTypeError(f"n_steps must be an int, got {type(n_steps).__name__}")
    least = 2 if method == "riemann_trapezoid" else 1
    if n_steps < least:
        raise InputError(f"n_steps must be at least {least} for {method!r}, got {n_steps}")
    return _RULES[method](n_steps)


def _riemann(offset: float) -> Callable[[int], Quadrature]:
    return lambda n: ([(i + offset) / n for i in range(n)], [1 / n] * n)


def _trapezoid(n: int) -> Quadrature:
    inner = [1 / (n - 1)] * (n - 2)
    return [i / (n - 1) for i in range(n)], [0.5 / (n - 1), *inner, 0.5 / (n - 1)]


def _gauss_legendre(n: int) -> Quadrature:
    points, weights = np.polynomial.legendre.leggauss(n)
    return ((1 + points) / 2).tolist(), (weights / 2).tolist()


_RULES: Mapping[str, Callable[[int], Quadrature]] = {
    "gausslegendre": _gauss_legendre,
    "riemann_left": _riemann(0.0),
    "riemann_right": _riemann(1.0),
    "riemann_middle": _riemann(0.5),
    "riemann_trapezoid": _trapezoid,
}


def _check_batch(internal_batch_size: Any, batch_size: int) -> None:
    if internal_batch_size is None:
        return
    if not isinstance(internal_batch_size, int) or isinstance(internal_batch_size, bool):
        raise InputTypeError(
            f"internal_batch_size must be an int or None, got {type(internal_batch_size).__name__}"
        )
    if internal_batch_size < 1:
        raise InputError(f"internal_batch_size must be at least 1, got {internal_batch_size}")
    if internal_batch_size < batch_size:
        warn(
            f"internal_batch_size={internal_batch_size} is smaller than the batch of {batch_size},"
            " so each step is run with the whole batch; pass fewer examples at once",
            TorchattrWarning,
        )


def _size(internal_batch_size: int | None, scores: TargetScores, inputs: Inputs) -> int:
    if internal_batch_size is not None:
        return max(internal_batch_size // max(inputs.batch_size, 1), 1)
    if not scores.repeatable:
        return 1
    footprint = scores.footprint
    device = inputs.tensors[0].device
    return fitting(footprint.bytes_with_graph, footprint, inputs.batch_size, device)


def _points(start: Tensor, end: Tensor, alphas: Sequence[float]) -> Tensor:
    end = end.detach()
    return torch.cat([start + alpha * (end - start) for alpha in alphas])


def _weighted(grads: Tensor, weights: Sequence[float]) -> Tensor:
    """Sum the copies of the batch, in single precision or higher."""
    kind = torch.promote_types(grads.dtype, torch.float32)
    blocks = grads.reshape(len(weights), len(grads) // len(weights), *grads.shape[1:])
    return torch.tensordot(
        torch.tensor(weights, dtype=kind, device=grads.device), blocks.to(kind), 1
    )


def _summed(chunks: Any) -> list[Tensor]:
    chunks = iter(chunks)
    totals = next(chunks)
    for chunk in chunks:
        totals = [total + more for total, more in zip(totals, chunk, strict=True)]
    return totals


def _beside(values: Tensor, like: Tensor) -> Tensor:
    """Add a dimension for the targets to `(N, ...)` if the other tensor has one."""
    return values.unsqueeze(1) if like.dim() > values.dim() else values


def _delta(results: Sequence[Tensor], scores: TargetScores, starts: Sequence[Tensor]) -> Tensor:
    difference = scores.clean - scores.of(starts)[0]
    kept = 2 if scores.several else 1
    if not scores.several:
        difference = difference[:, 0]
    sums = [_sum_beyond(result.detach(), kept).to(difference.device) for result in results]
    return torch.stack(sums).sum(0) - difference


def _sum_beyond(values: Tensor, dimensions: int) -> Tensor:
    return values.reshape(*values.shape[:dimensions], values.shape[dimensions:].numel()).sum(-1)
