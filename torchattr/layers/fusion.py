"""Pairs of calls whose backward is one pass over memory.

A later call that alone reads what an earlier one gives may do the earlier one's backward with its
own. Each such pair is a :class:`Fusion`, in a file of its own that registers it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from torchattr.core.registry import Registry
from torchattr.layers.operations.operation import Call
from torchattr.layers.rule import LayerRule


@dataclass(eq=False)
class GraphStep:
    """A call in the graph, with what the walk over the finished forward establishes.

    Attributes:
        call: the call.
        rules: its rule under each table.
        droppable: what it remembers, until the graph is complete.
        sole_reader: whether it alone reads the gradient that a rule above it has just made.
        partner: the step before it whose backward it does, too.
        fusion: how it does that.
        is_done_above: whether the step after it does its backward.
    """

    call: Call
    rules: Sequence[LayerRule]
    droppable: Sequence[Tensor] = ()
    sole_reader: bool = False
    partner: GraphStep | None = None
    fusion: Fusion | None = None
    is_done_above: bool = False

    def consists_of(self, *kinds: type[LayerRule]) -> bool:
        """Whether every rule is of one of these classes themselves, no subclass."""
        return all(type(rule) in kinds for rule in self.rules)


class Fusion(ABC):
    """A pair of calls that go back together, the later one (`above`) doing the work of both.

    Register it with :func:`register_fusion`; the first that fits is taken. A fused backward must
    give exactly what the two rules give one after the other.
    """

    forgets_below: ClassVar[bool] = False
    """Whether what the earlier call remembers is not needed any more."""

    @abstractmethod
    def fits(self, above: GraphStep, below: GraphStep) -> bool:
        """Whether this pair can go back together, whatever table is in force."""

    @abstractmethod
    def backward(
        self, above: GraphStep, below: GraphStep, table: int, grad: Tensor, *saved: Tensor
    ) -> Tensor:
        """Return what goes back to the input of the earlier call.

        Args:
            above: the later call, whose gradient comes.
            below: the earlier one.
            table: the position of the rules in force among `rules`.
            grad: what came back to the later call.
            saved: what the rule in force of the later call saved.
        """


F = TypeVar("F", bound=type[Fusion])

FUSIONS: Registry[Fusion] = Registry("fusion", group="torchattr.fusions")


def register_fusion(name: str) -> Callable[[F], F]:
    """Register an instance of the decorated :class:`Fusion` under a name.

    Raises:
        RegistryError: the name is taken.
    """

    def register(fusion: F) -> F:
        FUSIONS.add(name, fusion())
        return fusion

    return register
