"""The base of the methods that average gradients between baselines and the input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import joined
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.core.warn import warn
from torchattr.errors import TorchattrWarning
from torchattr.methods._gradient.backward_pass import INPUTS, Pass
from torchattr.methods._gradient.baselines import fixed_baselines
from torchattr.methods._gradient.memory import Memory
from torchattr.methods._gradient.passes import MethodCall, solve
from torchattr.methods._gradient.rows import beside_targets
from torchattr.methods._perturbation.batch_repeat import repeat_arguments, repeat_target
from torchattr.methods._perturbation.checked import checked_count
from torchattr.methods._perturbation.memory_budget import fitting, in_batches
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores, require_copies
from torchattr.methods.base import Attribution, GradientAttribution

Evaluate = Callable[[int, int], Any]
"""Returns the sums over copies `[start, stop)`, in any containers."""


class RowsElsewhere(NotPerExample):
    """The rows of a layer do not grow with the batch, so copies of it cannot be told apart."""


class _PointGradient(GradientAttribution):
    """The gradient at points of a path, under the title of the method that needs it.

    of: what the points are called in messages.
    """

    def __init__(self, title: str, of: str, model: Forward, **options: Any) -> None:
        super().__init__(model, **options)
        self._title, self._of = title, of

    @property
    def title(self) -> str:
        return self._title

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any = None, **options: Any
    ) -> Sequence[Pass]:
        return [Pass(self.table, name=self._of)]


class PathAttribution(Attribution):
    """A method that averages `(x − b) · ∂s/∂x` over points between baselines b and the input x.

    The points are copies of the batch, of which as many are run at once as memory allows.

    Args:
        multiply_by_inputs: multiply by `x − b`; otherwise the mean gradient itself.
        rules: rules for the backward, as for :class:`GradientAttribution`; by default none, so it
            is the plain gradient.
        strict: as for :class:`GradientAttribution`.
        memory: as for :class:`GradientAttribution`.
    """

    _allow_unused: bool = False
    """Whether inputs that the target does not depend on get zeros."""

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
        self._gradient = _PointGradient(
            self.title,
            self._points_of,
            model,
            rules=rules,
            output=output,
            strict=strict,
            memory=memory,
        )
        self.multiply_by_inputs = multiply_by_inputs

    def _settings(self) -> dict[str, Any]:
        by_inputs = None if self.multiply_by_inputs else False
        return {"multiply_by_inputs": by_inputs, **self._gradient._settings()}

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
            start_point: for each input a number, or a tensor that broadcasts to it.
            end_point: the inputs, as for :meth:`attribute`.
            target: the same target.
            additional_forward_args: the same arguments.
        """
        given = as_inputs(end_point)
        scores = self._scores(given, target, as_arguments(additional_forward_args))
        results = attributions if isinstance(attributions, (tuple, list)) else (attributions,)
        starts = fixed_baselines(start_point, given)
        return convergence_delta(results, scores, scores.clean - scores.of(starts)[0])

    @property
    def _points_of(self) -> str:
        """What the points of the path are called in messages: the inputs by default."""
        return INPUTS

    def _scores(self, inputs: Inputs, target: Any, arguments: Sequence[Any]) -> TargetScores:
        return TargetScores(self.model, inputs, target, arguments, self.output)

    def _summed(
        self,
        count: int,
        evaluate: Evaluate,
        scores: TargetScores,
        inputs: Inputs,
        internal_batch_size: int | None,
        what: str,
        *,
        beside: int = 0,
    ) -> Any:
        """Return the sum of what copies `[0, count)` of the batch give, evaluated in ranges.

        Args:
            count: number of copies.
            evaluate: returns the sums over copies `[start, stop)`. A range may be evaluated again.
            scores: the scores of the batch.
            inputs: the batch.
            internal_batch_size: maximum number of examples in one forward, but at least the batch;
                `None` takes as many as memory allows.
            what: name of a copy in messages.
            beside: how many copies are run in addition to those of a range.

        Raises:
            NotPerExample: the model does not return one row of scores for each example.
            OutOfMemory: not even one copy fits.
        """
        require_rows_of(scores)
        size = max(_copies_at_once(internal_batch_size, scores, inputs) - beside, 1)
        try:
            return _added(in_batches(count, size, evaluate, what))
        except NotPerExample as error:
            of_layer = isinstance(error, RowsElsewhere)
            if size == 1 or (inputs.batch_size != 1 and not of_layer):
                raise
            # A number for a single example: correct as long as it runs one copy at a time.
            return _added(in_batches(count, 1, evaluate, what))

    def _gradients(
        self,
        points: Sequence[Tensor],
        arguments: Sequence[Any],
        scores: TargetScores,
        batch_size: int,
        call: MethodCall | None = None,
    ) -> Any:
        """Return the gradients at copies of the batch: `(copies · N, ...)` for each input.

        Args:
            points: the copies.
            arguments: further arguments of the model.
            scores: the scores of the batch.
            batch_size: examples in the batch.
            call: what is read instead of these gradients.
        """
        rows = len(points[0])
        copies = rows // max(batch_size, 1)
        solution = solve(
            self.model,
            Inputs(tuple(points), True),
            repeat_target(scores.target, copies),
            repeat_arguments(arguments, copies, batch_size),
            [call or MethodCall(self._gradient, allows_unused=self._allow_unused)],
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
        """Return mean gradients in the dtypes of the inputs, times the length of the path."""
        if not self.multiply_by_inputs:
            return [mean.to(x.dtype) for x, mean in zip(inputs.tensors, means, strict=True)]
        return [
            (beside_targets(x.detach() - start, mean) * mean).to(x.dtype)
            for x, start, mean in zip(inputs.tensors, starts, means, strict=True)
        ]


def check_internal_batch(internal_batch_size: Any, batch_size: int, what: str) -> None:
    """Check the number of examples in one forward, and warn where the batch is larger.

    Raises:
        InputTypeError: neither an int nor `None`.
        InputError: less than 1.
    """
    if internal_batch_size is None:
        return
    checked_count(internal_batch_size, "internal_batch_size", expected="an int or None")
    if internal_batch_size < batch_size:
        warn(
            f"internal_batch_size={internal_batch_size} is smaller than the batch of {batch_size},"
            f" so each {what} is run with the whole batch; pass fewer examples at once",
            TorchattrWarning,
        )


def require_rows_of(scores: TargetScores) -> None:
    """Check that the model scores each example.

    Raises:
        NotPerExample: it does not.
    """
    if not scores.per_example:
        raise NotPerExample(
            f"the model's output for a batch of {scores.batch} does not hold one row for each"
            " example, but is one for all; pass a model that scores each"
        )


def convergence_delta(
    results: Sequence[Tensor], scores: TargetScores, difference: Tensor
) -> Tensor:
    """Return the sum of each example's attributions minus the difference of its scores.

    Args:
        results: attributions of the inputs, `(N, ...)`, or `(N, targets, ...)` for several.
        scores: the scores that were explained.
        difference: what the sums should be, `(N, targets)`.
    """
    kept = 2 if scores.several else 1
    if not scores.several:
        difference = difference[:, 0]
    sums = [_sum_beyond(result.detach(), kept).to(difference.device) for result in results]
    return torch.stack(sums).sum(0) - difference


def _copies_at_once(internal_batch_size: int | None, scores: TargetScores, inputs: Inputs) -> int:
    if internal_batch_size is not None:
        return max(internal_batch_size // max(inputs.batch_size, 1), 1)
    if not scores.repeatable:
        return 1
    footprint = scores.footprint
    device = inputs.tensors[0].device
    return fitting(footprint.bytes_with_graph, footprint, inputs.batch_size, device)


def _added(chunks: Iterable[Any]) -> Any:
    return reduce(lambda total, more: joined([total, more], lambda pair: pair[0] + pair[1]), chunks)


def _sum_beyond(values: Tensor, dimensions: int) -> Tensor:
    return values.reshape(*values.shape[:dimensions], values.shape[dimensions:].numel()).sum(-1)
