"""The base class of the relevance methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.device_faults import raise_if_lost
from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.pytree import joined
from torchattr.core.targets import Target
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.errors import InputError, InputTypeError, LayerError
from torchattr.layers import Composite, Coverage, RuleTable, refuse_unknown
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._relevance.accounting import Accounted, Accounting, refuse_zero
from torchattr.methods._relevance.composites import (
    FROZEN,
    CompositeChoice,
    RuleSettings,
    composite_of,
)
from torchattr.methods._relevance.ledger import Ledger
from torchattr.methods.base import GradientAttribution

Start = Literal["score", "one"]
"""What relevance begins with: the score itself, or 1 for each example."""


@dataclass(frozen=True)
class RelevanceAccount:
    """The attribution of one example, and where the rest of its score went.

    Attributes:
        attribution: as `attribute` returns it.
        ledgers: for each target.
        several: whether there may be several targets, so that the attribution has a dimension for
            them after the batch.
        coverage: which operations ran, and which were rewritten.
    """

    attribution: Any
    ledgers: list[Ledger]
    several: bool
    coverage: Coverage


class RelevancePropagation(GradientAttribution):
    """A method that passes a score down: `R = x · g`, with `g` the backward of a composite.

    Where `R` is read, a subclass says.

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

    def serves_copies(self, batch_size: int) -> bool:
        return not self.composite.has_rows(batch_size)

    def passes(
        self, inputs: Inputs, arguments: Sequence[Any], *, target: Any = None, **options: Any
    ) -> Sequence[Pass]:
        refuse_half(inputs)
        return super().passes(inputs, arguments, target=target, **options)

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in super()._settings().items() if name != "memory"}

    def _shares(self, result: PassResult, number: int) -> list[Tensor]:
        """Return the relevance of each value of a call, in units of the score if it starts at 1."""
        pairs = zip(result.values[number], result.gradients[number], strict=True)
        shares = [factor * grad for factor, grad in pairs]
        if self.start == "one":
            return [_per_unit(share, result) for share in shares]
        return shares


class RelevanceAttribution(RelevancePropagation):
    """A method that distributes the score over the inputs, and accounts for the rest of it.

    Args, and what is raised, as for :class:`RelevancePropagation`.
    """

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
                several targets; the only one where the model has one score for the whole batch. It
                runs the examples one by one, so that the map may differ by rounding, and warns
                where their scores are not those that they have in the batch.
        """
        given = as_inputs(inputs)
        if not return_ledger or not given.batch_size:
            found = self._attribute(inputs, target, additional_forward_args)
            return (found, []) if return_ledger else found
        accounts = self._accounts(given, target, as_arguments(additional_forward_args))
        whole = joined([account.attribution for account in accounts], torch.cat)
        return whole, _ledgers_of(accounts)

    def account(
        self, inputs: Tensors, target: Target = None, additional_forward_args: Any = None
    ) -> RelevanceAccount:
        """Return the attribution of one example and where the rest of its score went.

        Both from one run, so that the ledger costs little more than the attribution alone.

        Args:
            inputs: as for every method, see :class:`Attribution`, of one example.
            target: as for every method.
            additional_forward_args: as for every method.

        Raises:
            InputError: there are several examples.

        >>> import torch, torchattr as ta
        >>> account = ta.LRP(torch.nn.Linear(3, 2)).account(torch.ones(1, 3), target=1)
        >>> account.attribution.shape, len(account.ledgers)
        (torch.Size([1, 3]), 1)
        """
        given = as_inputs(inputs)
        if given.batch_size != 1:
            raise InputError(
                f"inputs holds {given.batch_size} examples, but account runs only one; pass one,"
                " or call attribute with return_ledger=True"
            )
        (account,) = self._accounts(given, target, as_arguments(additional_forward_args))
        return account

    def ledgers(
        self, inputs: Tensors, target: Target = None, additional_forward_args: Any = None
    ) -> list[Any]:
        """Return where the score of each example went, as a :class:`Ledger`."""
        given = as_inputs(inputs)
        refuse_half(given)
        arguments = as_arguments(additional_forward_args)
        return _ledgers_of(self._accounting("the ledger").of_each(given, target, arguments))

    def _accounts(
        self, given: Inputs, target: Any, arguments: Sequence[Any]
    ) -> list[RelevanceAccount]:
        """Return the account of each example, or of a batch that the forward aggregates."""
        refuse_half(given)
        found = self._run_accounted(given, target, arguments)
        for one in found:
            one.coverage.demand(self.table, self.title, strict=self.strict)
        unknown = [name for one in found for name in one.unknown]
        if unknown:
            refuse_unknown(unknown, strict=self.strict)
        return [self._account_of(one) for one in found]

    def _account_of(self, one: Accounted) -> RelevanceAccount:
        parts = [self.combine(one.inputs, [result]) for result in one.results]
        whole = joined(parts, partial(torch.stack, dim=1)) if one.several else parts[0]
        return RelevanceAccount(whole, one.ledgers, one.several, one.coverage)

    def _run_accounted(
        self, given: Inputs, target: Any, arguments: Sequence[Any]
    ) -> list[Accounted]:
        try:
            return self._accounting(self.title).of_each(given, target, arguments)
        except RuntimeError as error:
            raise_if_lost(error)
            raise

    def _accounting(self, title: str) -> Accounting:
        of_one = self.start == "one"
        return Accounting(self.model, self.composite, self.output, of_one, title)

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        return inputs.restore(self._shares(results[0], 0))


def _ledgers_of(accounts: Sequence[Accounted | RelevanceAccount]) -> list[Any]:
    """Return the ledger of each example; for several targets, a list of them."""
    return [one.ledgers if one.several else one.ledgers[0] for one in accounts]


def refuse_half(inputs: Inputs) -> None:
    """Check that nothing is computed in half precision, whose range denominators leave.

    Raises:
        InputTypeError: an input is, or autocast makes the model do so.
    """
    autocast = {tensor.device.type for tensor in inputs.tensors if _is_autocast_to_half(tensor)}
    if autocast or any(tensor.dtype is torch.float16 for tensor in inputs.tensors):
        what = f"torch.autocast({autocast.pop()!r}) computes in" if autocast else "inputs are"
        raise InputTypeError(
            f"{what} float16, in whose range the quotients of relevance overflow or vanish; use"
            " bfloat16 or float32 for inputs and model"
        )


def _is_autocast_to_half(tensor: Tensor) -> bool:
    kind = tensor.device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return is_on and torch.get_autocast_dtype(kind) is torch.float16


def _per_unit(share: Tensor, result: PassResult) -> Tensor:
    """Return relevance in units of the score of the example that it belongs to.

    Raises:
        InputError: a score is 0.
        LayerError: it is not known which example each value belongs to.
    """
    refuse_zero(result.scores, "start='one'", "use start='score'")
    if len(share) != len(result.scores):
        raise LayerError(
            f"relevance that begins with 1 is divided by the score of each example, but"
            f" {result.name} has values of shape {tuple(share.shape)} for"
            f" {len(result.scores)} examples; choose a layer whose first dimension is the batch"
        )
    return share / result.scores.to(share).view(-1, *(1,) * (share.dim() - 1))
