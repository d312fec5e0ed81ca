"""A backward pass that a method asks for, and what it yields where the method reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from torchattr.core.inputs import Inputs
from torchattr.layers import Captured, Composite, LayerRule, RuleTable, Tap, TapPoint
from torchattr.methods._gradient.forward_result import ForwardResult
from torchattr.methods._gradient.target_reader import last_call

INPUTS = "the inputs"
"""What the inputs of the model are called in messages."""


@dataclass(frozen=True, eq=False)
class Pass:
    """A backward pass that a method needs.

    Attributes:
        rules: its rules.
        tap: where its gradients are read: a module's output or input, or the outputs of attention;
            `None` means the inputs of the model.
        name: name of the tap point in messages.
        reads_gradients: whether the method reads gradients there; otherwise the values alone, so
            that nothing need connect them with the target.
        required: whether a layer that did not run, or is not on the path to the target, is an
            error; otherwise it has no calls, or gradients of zeros.
    """

    rules: RuleTable
    tap: Tap | None = None
    name: str = INPUTS
    reads_gradients: bool = True
    required: bool = True


@dataclass(frozen=True)
class PassResult:
    """Values and gradients at the tap point of a pass, for each call of the module.

    The inputs of the model count as one call.

    Attributes:
        name: name of the tap point in messages.
        calls: the calls, whose values are detached. Under a composite they are what makes relevance
            of gradients: the values but where a batch-norm is one operation with what is below it,
            and ones where gradients are relevance already.
        gradients: the gradients with respect to each of these values; empty for a pass that reads
            none.
        scores: the target's score of each example, `(N,)`; empty where a method reads no target.
    """

    name: str
    calls: tuple[Captured, ...]
    gradients: tuple[tuple[Tensor, ...], ...]
    scores: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def values(self) -> tuple[tuple[Tensor, ...], ...]:
        return tuple(call.values for call in self.calls)


def calls_of(trace: ForwardResult, inputs: Inputs, asked: Pass) -> list[Captured]:
    """Return the calls that a pass reads, without edges if it reads no gradients.

    Raises:
        LayerError: a layer that is required did not run.
    """
    if asked.tap is None:
        form = tuple(range(len(inputs.tensors)))
        return [Captured(inputs.tensors, tuple(trace.input_edges), form)]
    if isinstance(asked.tap, TapPoint) and asked.required:
        last_call(trace, asked.tap)
    calls = trace.calls(asked.tap)
    return calls if asked.reads_gradients else [replace(call, edges=()) for call in calls]


def edges_of(calls: Sequence[Sequence[Captured]]) -> list[GradientEdge | None]:
    """Return where the gradients of a backward are read, for the calls of each of its passes."""
    return [edge for group in calls for call in group for edge in call.edges]


def pass_results(
    passes: Sequence[Pass],
    calls: Sequence[Sequence[Captured]],
    found: Sequence[Tensor | None],
    scores: Tensor,
    before: tuple[int, ...] = (),
) -> dict[Pass, PassResult]:
    """Return the result of each pass of one backward.

    Args:
        passes: the passes that share it.
        calls: the calls that each of them reads.
        found: the gradients at their edges, in this order; `None` for zeros.
        scores: what was differentiated, with the dimensions of `before` first.
        before: dimensions that all gradients have before those of the values.
    """
    remaining = iter(found)
    return {
        request: _pass_result(request.name, group, remaining, scores, before)
        for request, group in zip(passes, calls, strict=True)
    }


def _pass_result(
    name: str,
    calls: Sequence[Captured],
    remaining: Iterator[Tensor | None],
    scores: Tensor,
    before: tuple[int, ...],
) -> PassResult:
    gradients = []
    for call in calls:
        of_call = [(number, next(remaining)) for number, _ in enumerate(call.edges)]
        gradients.append(
            tuple(
                _zeros(call, number, scores, before) if grad is None else grad
                for number, grad in of_call
            )
        )
    detached = [
        replace(call, values=tuple(value.detach() for value in call.values)) for call in calls
    ]
    return PassResult(name, tuple(detached), tuple(gradients), scores)


def _zeros(call: Captured, number: int, scores: Tensor, before: tuple[int, ...]) -> Tensor:
    """Return zeros for one value of a call, which may not have been kept."""
    like = call.values[number] if call.values else scores.new_zeros(call.shapes[number])
    return torch.zeros_like(like).expand(*before, *like.shape)


def distinct_tables(tables: Sequence[RuleTable]) -> list[RuleTable]:
    """Return the tables without those that have the rules of an earlier one."""
    distinct: list[RuleTable] = []
    for table in tables:
        if not any(same_rules(table, known) for known in distinct):
            distinct.append(table)
    return distinct


def same_rules(table: RuleTable, other: RuleTable) -> bool:
    """Whether two tables give the same backward."""
    if table is other:
        return True
    if isinstance(table, Composite) or isinstance(other, Composite):
        return False
    return {name: _identity(rule) for name, rule in table.items()} == {
        name: _identity(rule) for name, rule in other.items()
    }


def _identity(rule: LayerRule) -> Any:
    return id(rule) if vars(rule) else type(rule)
