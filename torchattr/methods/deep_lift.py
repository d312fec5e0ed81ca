"""DeepLIFT: what the difference of each element from a baseline contributes to the score's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, overload

import torch
from torch import Tensor

from torchattr.core.device_faults import is_out_of_memory
from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import tensors_of, with_tensors
from torchattr.core.targets import Several, Target
from torchattr.core.types import Baselines, Forward, OutputKey, Tensors, TensorsT
from torchattr.errors import InputError, InputTypeError, ModelError
from torchattr.layers import RuleTable, Tolerance
from torchattr.methods._gradient.attributed import Attributed, AttributedInputs
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.baselines import fixed_baselines
from torchattr.methods._gradient.comparison import (
    Comparison,
    check_complete,
    check_finite,
    contributions,
    incomplete,
    missing,
)
from torchattr.methods._gradient.rows import UNFIT
from torchattr.methods._perturbation.scores import TargetScores
from torchattr.methods.base import Attribution, GradientAttribution
from torchattr.methods.registry import register_method

T = TypeVar("T")

CustomAttribution = Callable[[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]], Any]


class _Multipliers(GradientAttribution):
    """The signal at what is attributed to, under rules that are bound to a run of the reference."""

    def __init__(self, method: RescaleAttribution, of: Attributed, table: RuleTable) -> None:
        super().__init__(method.model, output=method.output, memory="lean")
        self._title, self._of = method.title, of
        self._table = table  # type: ignore[assignment]

    @property
    def title(self) -> str:
        return self._title

    def passes(self, inputs: Inputs, arguments: Sequence[Any], **options: Any) -> Sequence[Pass]:
        return self._of.passes(self.table)

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        return self._of.gradients(results)


class RescaleAttribution(Attribution):
    """The base of DeepLIFT's methods, which compare a run on inputs with one on baselines.

    Args:
        multiply_by_inputs: multiply by `x - x0`; otherwise the multipliers themselves.
        eps: differences smaller than this count as none, so that the derivative stands for their
            quotient; `None` counts those below 1e-7 of the values, whatever their scale.

    Raises:
        InputTypeError, InputError: `eps` is not a number above 0.
    """

    def __init__(
        self,
        model: Forward,
        multiply_by_inputs: bool = True,
        eps: float | None = None,
        *,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, output=output)
        self.multiply_by_inputs = multiply_by_inputs
        self.eps = eps
        self._tolerance = Tolerance() if eps is None else Tolerance(0.0, _checked_eps(eps))

    def _settings(self) -> dict[str, Any]:
        by_inputs = None if self.multiply_by_inputs else False
        return {"multiply_by_inputs": by_inputs, "eps": self.eps, **super()._settings()}

    def compute_convergence_delta(
        self,
        attributions: Tensors,
        start_point: Any,
        end_point: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """Return the sum of the attributions minus `s(end) - s(start)`, one for each example.

        Args:
            attributions: contributions of the difference between both points.
            start_point: for each input a number, or a tensor that broadcasts to it.
            end_point: the inputs, as for :meth:`attribute`.
            target: the same target.
            additional_forward_args: the same arguments.
        """
        given = as_inputs(end_point)
        arguments = as_arguments(additional_forward_args)
        scores = TargetScores(self.model, given, target, arguments, self.output)
        results = attributions if isinstance(attributions, (tuple, list)) else (attributions,)
        rise = scores.clean - scores.of(fixed_baselines(start_point, given))[0]
        delta = missing(results, rise)
        return delta if scores.several else delta[:, 0]

    def _compared_with(
        self,
        references: Sequence[Tensor],
        target: Any,
        arguments: Sequence[Any],
        of: Attributed,
        *,
        shared: bool = False,
    ) -> Comparison:
        """Return the run of references; if they are shared, of copies of which others are compared.

        Raises:
            ModelError: they are shared, but may not be copied.
        """
        run = Comparison(
            self.model,
            references,
            target,
            arguments,
            key=self.output,
            tolerance=self._tolerance,
            taps=list(of.taps.values()),
        )
        if shared and not run.may_be_copied():
            raise _no_copies(self.title)
        return run

    def _may_share(
        self, inputs: Inputs, arguments: Sequence[Any], custom: Any, of: Attributed
    ) -> bool:
        """Whether the run of one row may serve all examples that have it as their reference.

        Only for what sums to the rise of the score, which is a check on it. Kernels round one row
        unlike several, which is all that tells equal values from others: it changes multipliers
        where nothing differs, but no contribution.
        """
        rows = inputs.batch_size
        own = any(one.dim() and len(one) == rows for one in tensors_of(arguments))
        return self.multiply_by_inputs and custom is None and of.is_complete and not own

    def _solved(
        self,
        comparison: Comparison,
        inputs: Sequence[Tensor],
        references: Sequence[Tensor],
        target: Any,
        custom: CustomAttribution | None,
        of: Attributed,
    ) -> tuple[Any, Any]:
        """Return the attributions, and how far they miss the rise of the scores, `(N, targets)`."""
        given = Inputs(tuple(inputs), True)
        solution = comparison.multipliers(
            partial(_Multipliers, self, of), given, target, allow_unused=of.allow_unused
        )
        multipliers = solution.results[0]
        values = of.values(solution.trace, inputs)
        starts = of.values(comparison.trace, references)
        found = contributions(multipliers, values, starts)
        copies = comparison.copies(inputs)
        rise = comparison.rise(solution, copies)
        check_finite(self.title, tensors_of(found))
        if copies > 1 and incomplete(tensors_of(found), rise, solution.scores):
            raise _no_copies(self.title)
        if of.is_complete:
            check_complete(self.title, found, rise, solution.scores)
        delta = of.for_each(lambda one: missing(tensors_of(one), rise), found)
        if custom is not None:
            return of.for_each(partial(_custom, custom), multipliers, values, starts), delta
        return found if self.multiply_by_inputs else multipliers, delta

    def _compared(
        self,
        inputs: Inputs,
        baselines: Any,
        target: Any,
        arguments: Sequence[Any],
        custom: CustomAttribution | None,
        of: Attributed,
    ) -> tuple[Any, Any]:
        """Return the attributions for one baseline of each example, and what they miss."""
        check_floating(baselines, inputs)
        references = fixed_baselines(baselines, inputs)

        def solved(rows: int) -> tuple[Any, Any]:
            # In the memory format of the inputs, on which it depends what a model runs (`reshape`).
            short = [
                torch.empty_like(x[:rows]).copy_(start[:rows])
                for x, start in zip(inputs.tensors, references, strict=True)
            ]
            shared = rows < inputs.batch_size
            run = self._compared_with(short, target, arguments, of, shared=shared)
            return self._solved(run, inputs.tensors, references, target, custom, of)

        rows = inputs.batch_size
        shared = rows > 1 and all(map(_is_one_row, references))
        if shared and self._may_share(inputs, arguments, custom, of):
            found, delta = unless_unfit(lambda: solved(1), lambda: solved(rows))
        else:
            found, delta = solved(rows)
        return found, delta if isinstance(target, Several) else with_tensors(delta, _first_target)


@register_method("deep_lift")
class DeepLift(RescaleAttribution):
    """`(x - x0) · m`, shaped like the input: contributions to `s(x) - s(x0)`.

    The rescale rule of Shrikumar, Greenside and Kundaje 2017, arXiv:1704.02685. A multiplier `m`
    says how much of the score's difference from the baseline's one unit of the input's difference
    makes. They obey a chain rule: an elementwise function multiplies by `(f(x) - f(x0)) / (x - x0)`
    in place of its derivative, a product of two results `a b` by the means of input and baseline,
    `mean(b)` and `mean(a)`; softmax, attention and normalisations consist of these, and a max-pool
    sends its difference to one place of each window. So the attributions sum to `s(x) - s(x0)` up
    to rounding, on every network; `return_convergence_delta` returns by how much they miss it.

    The model runs once on the baselines and once on the inputs, and there is one backward. A
    baseline that all examples share runs as a single row where the model is known to treat each
    example by itself.

    It is *not* independent of the baseline: elements that equal the baseline get 0. It is *not*
    symmetric: two networks that compute the same function in different ways may get different
    attributions. The paper's RevealCancel rule is another method.

    Args:
        multiply_by_inputs: multiply by `x - x0`; otherwise the multipliers themselves.
        eps: differences smaller than this count as none, so that the derivative stands for their
            quotient; `None` counts those below 1e-7 of the values, whatever their scale.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> maps, delta = ta.DeepLift(model).attribute(
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
        return_convergence_delta: Literal[False] = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> TensorsT: ...

    @overload
    def attribute(
        self,
        inputs: TensorsT,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        return_convergence_delta: Literal[True],
        custom_attribution_func: CustomAttribution | None = None,
    ) -> tuple[TensorsT, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Tensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> Any: ...

    def attribute(
        self,
        inputs: Tensors,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
    ) -> Any:
        """Return the attributions, shaped like the inputs.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            baselines: what the inputs are compared with: a number or a floating tensor that
                broadcasts to the input, one for each input; 0 by default.
            target: as for every method; the predicted class is that of the input.
            additional_forward_args: as for every method; the baselines run with the same.
            return_convergence_delta: return `(attributions, delta)`: for each example also how far
                the sum of its contributions is from `s(x) - s(x0)`.
            custom_attribution_func: computes the attributions from the multipliers, the inputs and
                the baselines, each a tuple with a tensor for each input; a tuple in turn.

        Raises:
            InputTypeError: baselines that are neither numbers nor floating tensors.
            ShapeError: baselines in another shape than the inputs.
            InputError: baselines that are not finite.
            ModelError: an operation of the model is neither linear nor known, or depends on the
                data by an index or a mask; or the multipliers overflow.
        """
        given = as_inputs(inputs)
        arguments = as_arguments(additional_forward_args)
        found, delta = self._compared(
            given, baselines, target, arguments, custom_attribution_func, AttributedInputs()
        )
        return (given.restore(found), delta) if return_convergence_delta else given.restore(found)


def unless_unfit(shared: Callable[[], T], each: Callable[[], T]) -> T:
    """Return what is solved with shared references, or with those of each example if that fails."""
    try:
        return shared()
    except UNFIT as error:  # A ModelError, too.
        if is_out_of_memory(error):
            raise
    return each()


def _no_copies(title: str) -> ModelError:
    return ModelError(f"{title} cannot compare copies of one run with others here")


def _is_one_row(reference: Tensor) -> bool:
    """Whether all rows are one in memory."""
    return bool(reference.dim()) and reference.stride(0) == 0


def _first_target(values: Tensor) -> Tensor:
    return values[:, 0]


def check_floating(baselines: Any, inputs: Inputs) -> None:
    """Check that baselines which are tensors are floating, as the inputs are.

    Raises:
        InputTypeError: one is not.
    """
    for value in baselines if isinstance(baselines, (tuple, list)) else (baselines,):
        if isinstance(value, Tensor) and not value.is_floating_point():
            raise InputTypeError(
                f"baselines has dtype {value.dtype}, but is compared with inputs of"
                f" {inputs.tensors[0].dtype}; pass a floating tensor, prepared as the inputs are"
            )


def _custom(function: CustomAttribution, multipliers: Any, values: Any, references: Any) -> Any:
    """Return what a function makes of the tensors in the same containers, in these."""
    triple = [tuple(tensors_of(one)) for one in (multipliers, values, references)]
    found = function(*triple)
    results = found if isinstance(found, (tuple, list)) else (found,)
    if len(results) != len(triple[0]) or not all(isinstance(one, Tensor) for one in results):
        raise InputTypeError(
            f"custom_attribution_func must return a tuple of {len(triple[0])} tensors, one for each"
            f" that it is given, got {[type(one).__name__ for one in results]}"
        )
    remaining = iter(results)
    return with_tensors(multipliers, lambda _: next(remaining))


def _checked_eps(eps: Any) -> float:
    if not isinstance(eps, (int, float)) or isinstance(eps, bool):
        raise InputTypeError(f"eps must be a number or None, got {type(eps).__name__}")
    if not eps > 0:
        raise InputError(f"eps must be above 0, got {eps}; None counts differences by their scale")
    return float(eps)
