"""Integrated gradients: the mean gradient on the path from a baseline, times its length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Tensors, TensorsT
from torchattr.methods._gradient.baselines import fixed_baselines
from torchattr.methods._perturbation.quadrature import (
    Quadrature,
    points_between,
    quadrature,
    weighted_copies,
)
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods.path_attribution import (
    PathAttribution,
    check_internal_batch,
    convergence_delta,
)
from torchattr.methods.registry import register_method


@register_method("integrated_gradients")
class IntegratedGradients(PathAttribution):
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
        starts = fixed_baselines(baselines, given)
        rule = quadrature(method, n_steps)
        check_internal_batch(internal_batch_size, given.batch_size, "step")
        arguments = as_arguments(additional_forward_args)
        scores = self._scores(given, target, arguments)
        evaluate = self._on_path(given, starts, arguments, scores, rule)
        means = self._summed(len(rule[0]), evaluate, scores, given, internal_batch_size, "step")
        results = self._finished(given, starts, means)
        if not return_convergence_delta:
            return given.restore(results)
        difference = scores.clean - scores.of(starts)[0]
        return given.restore(results), convergence_delta(results, scores, difference)

    def _on_path(
        self,
        inputs: Inputs,
        starts: Sequence[Tensor],
        arguments: Sequence[Any],
        scores: TargetScores,
        rule: Quadrature,
    ) -> Callable[[int, int], list[Tensor]]:
        """Return what evaluates the weighted sum of the gradients at some steps."""

        def evaluate(first: int, last: int) -> list[Tensor]:
            points = points_between(starts, inputs.tensors, rule[0][first:last])
            grads = self._gradients(points, arguments, scores, inputs.batch_size)
            return [weighted_copies(grad, rule[1][first:last]) for grad in grads]

        return evaluate
