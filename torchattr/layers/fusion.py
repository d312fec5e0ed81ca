"""Pairs of calls whose backward is one pass over memory.

A later call that alone reads what an earlier one returns may run the earlier one's backward with
its own. Each such pair is a :class:`FusedPair`, in a file of its own that registers it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from torch import Tensor

from torchattr.core.registry import Registry
from torchattr.layers.backward import CallReaders
from torchattr.layers.operations.operation import Call
from torchattr.layers.rule import LayerRule


class NodeState:
    """A call in the graph, with what the walk over the finished forward finds out about it.

    Args:
        call: the call.
        rules: its rule under each table.
        saved: what its rules remember, held until the walk is over.
        readers: the readers of the gradient that comes back to it.

    Attributes:
        partner: the earlier call whose backward this one runs, too, and the pair that says how.
        is_done_above: whether the later call runs this one's backward.
    """

    __slots__ = ("call", "is_done_above", "partner", "readers", "rules", "saved")

    def __init__(
        self,
        call: Call,
        rules: Sequence[LayerRule],
        saved: Sequence[Tensor],
        readers: CallReaders,
    ) -> None:
        self.call = call
        self.rules = rules
        self.saved = saved
        self.readers = readers
        self.partner: tuple[FusedPair, NodeState] | None = None
        self.is_done_above = False

    def consists_of(self, *kinds: type[LayerRule]) -> bool:
        """Whether every rule is of exactly one of these classes, not of a subclass."""
        return all(type(rule) in kinds for rule in self.rules)


class FusedPair(ABC):
    """Two calls that go back together: the later one (`above`) runs the backward of both.

    Register it with :func:`register_fused_pair`; the first that fits is taken. It must return
    exactly what the two rules return one after the other.
    """

    forgets_below: ClassVar[bool] = False
    """Whether it reads nothing that the earlier call saved, so that this memory can be freed."""

    @abstractmethod
    def fits(self, above: NodeState, below: NodeState) -> bool:
        """Whether these two calls can go back together, whatever table is in force.

        The engine fuses them only if nothing but `above` reads what `below` returned, and if each
        has one input and these have the same shape.
        """

    @abstractmethod
    def backward(
        self, above: NodeState, below: NodeState, table: int, grad: Tensor, *saved: Tensor
    ) -> Tensor:
        """Return the gradient of the earlier call's input.

        Args:
            above: the later call; `above.call.owns_grad` is about `grad`.
            below: the earlier call.
            table: the position of the rules in force among `rules`.
            grad: the gradient of the later call's output.
            saved: what the later call's rule in force saved.
        """


P = TypeVar("P", bound=FusedPair)

FUSED_PAIRS: Registry[FusedPair] = Registry("fused pair", group="torchattr.fused_pairs")


def register_fused_pair(name: str) -> Callable[[type[P]], type[P]]:
    """Register an instance of the decorated :class:`FusedPair` under a name.

    Raises:
        RegistryError: the name is taken.
    """

    def register(pair: type[P]) -> type[P]:
        FUSED_PAIRS.add(name, pair())
        return pair

    return register
