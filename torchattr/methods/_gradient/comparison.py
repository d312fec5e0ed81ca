"""Compares a model's run on inputs with one on references, by the rules for differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.types import Forward, OutputKey
from torchattr.core.warn import warn
from torchattr.errors import ModelError, TorchattrWarning
from torchattr.layers import ReferenceRun, RuleTable, Tolerance
from torchattr.methods._gradient.passes import Method, MethodCall, SolveResult, solve
from torchattr.methods._gradient.rows import beside_targets, per_example
from torchattr.methods._gradient.target_reader import TargetReader


class Comparison:
    """A run on references, with which runs on inputs are compared.

    Args:
        model: the model.
        references: what each input is compared with, one row for each example.
        target: what is explained, of any kind.
        arguments: further arguments of the model.
        key: which entry of the output holds the scores.
        tolerance: which differences count as none.
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
    ) -> None:
        self._problem = (model, arguments, key)
        self._reader = TargetReader(model, target)
        self._references = Inputs(tuple(references), True)
        self._run = ReferenceRun(
            model,
            references,
            arguments,
            taps=self._reader.taps,
            key=key,
            tolerance=tolerance,
        )

    def multipliers(
        self, method: Callable[[RuleTable], Method], inputs: Inputs, target: Any
    ) -> SolveResult:
        """Run on inputs and return the multipliers of each as the solution's only result.

        Args:
            method: returns the method that returns gradients under the rules that it is given.
            inputs: as many rows as there are references.
            target: what is explained.
        """
        model, arguments, key = self._problem
        call = MethodCall(method(self._run.table()))
        return solve(model, inputs, target, arguments, [call], key=key, memory="lean")

    def rise(self, solution: SolveResult) -> Tensor:
        """Return how much higher each score is than the references': `(N, targets)`."""
        model, arguments, key = self._problem
        trace = self._run.trace
        with torch.no_grad():
            output = per_example(trace.output, self._references, model, arguments, key)
            starts = [self._reader.read(trace, output, target) for target in solution.targets]
        return torch.stack([*map(torch.sub, solution.scores, starts)], 1).detach()


def contributions(
    multipliers: Sequence[Tensor], inputs: Sequence[Tensor], references: Sequence[Tensor]
) -> list[Tensor]:
    """Return `(x - x0) m` for each input; there is one more dimension for several targets."""
    triples = zip(multipliers, inputs, references, strict=True)
    return [beside_targets(x.detach() - x0, m) * m for m, x, x0 in triples]


def missing(found: Sequence[Tensor], rise: Tensor) -> Tensor:
    """Return how far the sums of contributions are from the rise of the scores: `(N, targets)`."""
    return _summed(found, rise) - rise


def check_complete(
    title: str, found: Sequence[Tensor], rise: Tensor, scores: Sequence[Tensor]
) -> None:
    """Check that contributions are finite and sum to the rise of the scores.

    Raises:
        ModelError: they are not finite.
    """
    if not all(bool(one.isfinite().all()) for one in found):
        raise ModelError(
            f"{title} found multipliers that are not finite: values between inputs and baselines"
            " are so far apart that an exponential or a quotient overflows; use float64, or"
            " baselines that are closer to the inputs"
        )
    eps = max(torch.finfo(one.dtype).eps for one in (*found, *scores))
    size = _summed([one.abs() for one in found], rise) + rise.abs()
    rounding = 100 * eps**0.5 * size + 1000 * eps * torch.stack(list(scores), 1).abs()
    off = missing(found, rise).abs() > rounding
    if bool(off.any()):
        examples = off.any(1).nonzero().flatten().tolist()
        warn(
            f"{title}: the attributions of example {', '.join(map(str, examples[:8]))} do not sum"
            " to the difference of the scores; a rule 'rescale' is wrong, or rounding is large:"
            " compare with float64",
            TorchattrWarning,
        )


def _summed(found: Sequence[Tensor], rise: Tensor) -> Tensor:
    kind = torch.promote_types(rise.dtype, torch.float32)
    several = rise.shape[1]
    sums = [one.to(rise.device, kind).reshape(len(one), several, -1).sum(-1) for one in found]
    total = torch.stack(sums).sum(0)
    # One score for the whole batch rises by what all examples contribute.
    return total if len(rise) == len(total) else total.sum(0, keepdim=True)
