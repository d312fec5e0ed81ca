"""Pairs of calls whose backward is one pass over memory.

A call that is the only consumer of an earlier one's output may run the earlier one's backward
together with its own. Each such pair is a :class:`FusedPair`, registered in a separate file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from torchattr.core.registry import Registry
from torchattr.layers.operations.operation import Call
from torchattr.layers.operations.place import Place
from torchattr.layers.rule import LayerRule


@dataclass(frozen=True)
class Versions:
    """How often tensors had been written over when a call ran.

    Attributes:
        inputs: those of its inputs.
        output: that of its output.
        saved: those of the tensors that its rules saved.
    """

    inputs: Sequence[int]
    output: int
    saved: Sequence[int]

    @classmethod
    def of(cls, call: Call, inputs: Sequence[int], output: Tensor, saved: Any) -> Versions:
        """Return the versions at the end of a call, given those of its inputs before."""
        # Autograd counts one change more of what a function says that it wrote over.
        return cls(
            inputs,
            output._version + call.inplace,
            [tensor._version + (call.inplace and tensor is output) for tensor in saved],
        )


class NodeState:
    """A call in the graph, with the findings of the walk over the finished forward.

    Args:
        call: the call.
        rules: its rule under each table.
        saved: the tensors that its rules saved, held until the walk is over.
        sizes: number of tensors that each group of rules saved.

    Attributes:
        partner: the fused pair and the earlier call, if this call runs that one's backward, too.
        is_done_above: whether the later call runs this one's backward.
        places: what is known of the call's neighbours, by the position of a composite table.
        versions: tell whether the model writes over a tensor, where rules ask.
    """

    __slots__ = (
        *("call", "is_done_above", "partner", "places", "rules", "saved", "sizes", "versions"),
    )

    def __init__(
        self,
        call: Call,
        rules: Sequence[LayerRule],
        saved: Sequence[Tensor],
        sizes: Sequence[int],
    ) -> None:
        self.call = call
        self.rules = rules
        self.saved = saved
        self.sizes = sizes
        self.partner: tuple[FusedPair, NodeState] | None = None
        self.is_done_above = False
        self.places: Mapping[int, Place] = {}
        self.versions: Versions | None = None

    @property
    def is_written_over(self) -> bool:
        """Whether the model wrote over a saved tensor since."""
        saved = () if self.versions is None else self.versions.saved
        return any(
            tensor._version != version for tensor, version in zip(self.saved, saved, strict=False)
        )

    def is_only_rectified(self, reader: NodeState) -> bool:
        """Whether all that the model wrote over a saved tensor is what its only reader made of it.

        Args:
            reader: a call that alone reads the output, and that rectifies it under every table.
        """
        above, below = reader.versions, self.versions
        if above is None or below is None or above.inputs[0] != below.output:
            return False
        pairs = zip(self.saved, below.saved, strict=True)
        return all(tensor._version in (version, above.output) for tensor, version in pairs)

    def consists_of(self, *kinds: type[LayerRule]) -> bool:
        """Whether every rule is of exactly one of these classes, not of a subclass."""
        return all(type(rule) in kinds for rule in self.rules)


class FusedPair(ABC):
    """Two calls with one backward: the later one (`above`) runs that of both.

    Register it with :func:`register_fused_pair`; the first that fits is used. It must return
    exactly what the two rules return one after the other.
    """

    forgets_below: ClassVar[bool] = False
    """Whether it reads nothing that the earlier call saved, so that this memory can be freed."""

    @abstractmethod
    def fits(self, above: NodeState, below: NodeState) -> bool:
        """Whether the backwards of these calls can be fused under every rule table.

        The engine fuses them only if `above` is the only consumer of the output of `below`, and if
        each has one input, of the same shape.
        """

    @abstractmethod
    def backward(
        self, above: NodeState, below: NodeState, table: int, grad: Tensor, *saved: Tensor
    ) -> Tensor:
        """Return the gradient of the earlier call's input.

        Args:
            above: the later call; `above.call.owns_grad` refers to `grad`.
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
