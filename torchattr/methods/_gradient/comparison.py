"""Compares a model's run on inputs with one on references, by the rules for differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import Inputs
from torchattr.core.pytree import joined
from torchattr.core.types import Forward, OutputKey
from torchattr.core.warn import warn
from torchattr.errors import ModelError, TorchattrWarning
from torchattr.layers import ReferenceRun, RuleTable, TapPoint, Tolerance
from torchattr.methods._gradient.passes import Method, MethodCall, SolveResult, solve
from torchattr.methods._gradient.rows import beside_targets, per_example
from torchattr.methods._gradient.target_reader import TargetReader


class Comparison:
    """A run on references, with which runs on inputs are compared.

    Args:
        model: the model.
        references: what each input is compared with: one row for each example, or fewer rows, of
            which the examples are compared with copies.
        target: what is explained, of any kind.
        arguments: further arguments of the model.
        key: which entry of the output holds the scores.
        tolerance: which differences count as none.
        taps: where the layers that are attributed to are read.

    Attributes:
        trace: the run.
    """

    def __init__(
        self,
        model: Forward,
        references: Sequence[Tensor],
        target: Any,
        arguments: Sequence[Any],
        *,
        key: OutputKey,
        tolerance: Tolerance,
        taps: Sequence[TapPoint] = (),
    ) -> None:
        self._problem = (model, arguments, key)
        self._reader = TargetReader(model, target)
        self._references = Inputs(tuple(references), True)
        self._run = ReferenceRun(
            model,
            references,
            arguments,
            taps=list(dict.fromkeys([*taps, *self._reader.taps])),
            key=key,
            tolerance=tolerance,
        )
        self.trace = self._run.trace

    def copies(self, inputs: Sequence[Tensor]) -> int:
        """Return how many copies of the references inputs are compared with."""
        return max(len(inputs[0]) // max(self._references.batch_size, 1), 1)

    def may_be_copied(self) -> bool:
        """Whether copies of the references may be compared with inputs."""
        return self._run.may_be_copied() and self._reader.reads_output

    def multipliers(
        self,
        method: Callable[[RuleTable], Method],
        inputs: Inputs,
        target: Any,
        *,
        allow_unused: bool = False,
    ) -> SolveResult:
        """Run on inputs and return the multipliers as the solution's only result.

        Args:
            method: returns the method that reads gradients under the rules that it is given.
            inputs: as many rows as there are references, or a multiple of these.
            target: what is explained.
            allow_unused: whether layers that the target does not depend on get zeros.

        Raises:
            ModelError: what runs has no rule, or is not the same; with a multiple of the rows also
                where the model may not treat each row by itself.
        """
        model, arguments, key = self._problem
        rules = self._run.table(self.copies(inputs.tensors))
        call = MethodCall(method(rules), allows_unused=allow_unused)
        return solve(model, inputs, target, arguments, [call], key=key, memory="lean")

    def rise(self, solution: SolveResult, copies: int = 1) -> Tensor:
        """Return how much higher each score is than the references': `(N, targets)`.

        Args:
            solution: what was found for some inputs.
            copies: how many copies of the references these are compared with.
        """
        model, arguments, key = self._problem
        with gradients(False):
            output = per_example(self.trace.output, self._references, model, arguments, key)
            if copies > 1:
                output = output.repeat(copies, *[1] * (output.dim() - 1))
            starts = [self._reader.read(self.trace, output, target) for target in solution.targets]
        return torch.stack([*map(torch.sub, solution.scores, starts)], 1).detach()


def contributions(multipliers: Any, values: Any, references: Any) -> Any:
    """Return `(x - x0) m` in the same containers; one more dimension for several targets."""

    def contribution(triple: Sequence[Tensor]) -> Tensor:
        m, x, x0 = triple
        return beside_targets(x - x0, m) * m

    return joined([multipliers, values, references], contribution)


def missing(found: Sequence[Tensor], rise: Tensor) -> Tensor:
    """Return how far the sums of contributions are from the rise of the scores: `(N, targets)`."""
    return _summed(found, rise) - rise


def check_finite(title: str, found: Sequence[Tensor]) -> None:
    """Check that contributions are finite.

    Raises:
        ModelError: they are not.
    """
    if not all(bool(one.isfinite().all()) for one in found):
        raise ModelError(
            f"{title} found multipliers that are not finite: values between inputs and baselines"
            " are so far apart that an exponential or a quotient overflows; use float64, or"
            " baselines that are closer to the inputs"
        )


def check_complete(
    title: str, found: Sequence[Tensor], rise: Tensor, scores: Sequence[Tensor]
) -> None:
    """Warn unless contributions sum to the rise of the scores."""
    off = incomplete(found, rise, scores)
    if off:
        warn(
            f"{title}: the attributions of example {', '.join(map(str, off[:8]))} do not sum"
            " to the difference of the scores; a rule 'rescale' is wrong, or rounding is large:"
            " compare with float64",
            TorchattrWarning,
        )


def incomplete(found: Sequence[Tensor], rise: Tensor, scores: Sequence[Tensor]) -> list[int]:
    """Return the examples whose contributions do not sum to the rise of their scores."""
    eps = max(torch.finfo(one.dtype).eps for one in (*found, *scores))
    size = _summed([one.abs() for one in found], rise) + rise.abs()
    rounding = 100 * eps**0.5 * size + 1000 * eps * torch.stack(list(scores), 1).abs()
    off = missing(found, rise).abs() > rounding
    return off.any(1).nonzero().flatten().tolist()


def _summed(found: Sequence[Tensor], rise: Tensor) -> Tensor:
    kind = torch.promote_types(rise.dtype, torch.float32)
    several = rise.shape[1]
    each = [one.reshape(len(one), several, one.shape[1:].numel() // several) for one in found]
    sums = [one.to(rise.device, kind).sum(-1) for one in each]
    total = torch.stack(sums).sum(0)
    # One score for the whole batch rises by what all examples contribute.
    return total if len(rise) == len(total) else total.sum(0, keepdim=True)
