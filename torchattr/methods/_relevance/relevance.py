"""The base class of the relevance methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.targets import Target
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.errors import InputError, InputTypeError
from torchattr.layers import Composite, RuleTable
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._relevance.accounting import Accounting, refuse_zero
from torchattr.methods._relevance.composites import (
    FROZEN,
    CompositeChoice,
    RuleSettings,
    composite_of,
)
from torchattr.methods.base import GradientAttribution

Start = Literal["score", "one"]
"""What relevance begins with: the score itself, or 1 for each example."""


class RelevanceAttribution(GradientAttribution):
    """A method that distributes the score: `R = x · g`, with `g` the backward of a composite.

    Args:
        model: as for every method, see :class:`Attribution`.
        composite: see :class:`LRP`.
        settings: the parameters of rules that are given by name.
        base: the rules of operations that the composite does not name.
        start: whether relevance begins with the score or with 1.
        rules: rules by operation that replace those of the composite.
        output: as for every method.
        strict: whether to raise :class:`NoRuleMatched` where an operation that is neither linear
            nor known carries relevance, or only warn.

    Raises:
        RuleError: an unknown composite, rule, operation or layer.
    """

    def __init__(
        self,
        model: Forward,
        composite: CompositeChoice,
        settings: RuleSettings,
        *,
        base: Mapping[str, str] = FROZEN,
        start: Start = "score",
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(model, output=output, strict=strict, memory="lean")
        if start not in get_args(Start):
            raise InputError(f"start must be 'score' or 'one', got {start!r}")
        self._further_rules = rules or None
        self._composite = composite_of(
            composite, settings, model, base=base, rules=rules, strict=strict
        )
        self.start: Start = start

    @property
    def composite(self) -> Composite:
        """The rules in force."""
        return self._composite

    @property
    def table(self) -> RuleTable:
        return self.composite

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        return_ledger: bool = False,
    ) -> Any:
        """Return the relevance, shaped like the inputs.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method.
            additional_forward_args: as for every method.
            return_ledger: also return a :class:`Ledger` for each example, or a list of them for
                several targets. It runs the examples one by one.
        """
        found = self._attribute(inputs, target, additional_forward_args)
        if not return_ledger:
            return found
        return found, self.ledgers(inputs, target, additional_forward_args)

    def ledgers(
        self, inputs: Tensors, target: Target = None, additional_forward_args: Any = None
    ) -> list[Any]:
        """Return where the score of each example went, as a :class:`Ledger`."""
        accounting = Accounting(self.model, self.composite, self.output, self.start == "one")
        given = as_inputs(inputs)
        refuse_half(given)
        return accounting.ledgers(given, target, as_arguments(additional_forward_args))

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any = None, **options: Any
    ) -> Sequence[Pass]:
        refuse_half(inputs)
        return super().passes(inputs, arguments, target=target, **options)

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in super()._settings().items() if name != "memory"}

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        return inputs.restore(self._shares(results[0], 0))

    def _shares(self, result: PassResult, number: int) -> list[Tensor]:
        """Return the relevance of each value of a call, in units of the score if it starts at 1."""
        pairs = zip(result.values[number], result.gradients[number], strict=True)
        shares = [factor * grad for factor, grad in pairs]
        if self.start == "one":
            return [_per_unit(share, result.scores) for share in shares]
        return shares


def refuse_half(inputs: Inputs) -> None:
    """Check that no input is in half precision, whose range denominators leave.

    Raises:
        InputTypeError: one is.
    """
    if any(tensor.dtype is torch.float16 for tensor in inputs.tensors):
        raise InputTypeError(
            "inputs are float16, in whose range the quotients of relevance overflow or vanish; use"
            " bfloat16 or float32 for inputs and model"
        )


def _per_unit(share: Tensor, scores: Tensor) -> Tensor:
    refuse_zero(scores, "start='one'", "use start='score'")
    return share / scores.to(share).view(-1, *(1,) * (share.dim() - 1))
