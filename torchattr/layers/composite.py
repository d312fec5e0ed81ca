"""Rule tables that look at a finished forward, to choose rules by place or to check its graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from torchattr.layers.operations.operation import Call
from torchattr.layers.rule import LayerRule


@dataclass(frozen=True)
class Position:
    """Where a convolution or linear layer stands in a forward.

    Attributes:
        layer: the name of the module that holds its weights; empty if none does.
        is_first: whether no other such call ran before it.
        is_last: whether none ran after it.
    """

    layer: str = ""
    is_first: bool = False
    is_last: bool = False


class Composite(dict[str, LayerRule]):
    """A rule for each operation, and further ones for single calls.

    Args:
        rules: the rule of each operation.
        first: the rule of the first convolution or linear layer that the signal passes, in
            execution order.
        last: the rule of the last one.
        layers: rules by the name of the layer.
    """

    def __init__(
        self,
        rules: Mapping[str, LayerRule],
        *,
        first: LayerRule | None = None,
        last: LayerRule | None = None,
        layers: Mapping[str, LayerRule] | None = None,
    ) -> None:
        super().__init__(rules)
        self.first = first
        self.last = last
        self.layers = layers or {}

    def rule_for(self, call: Call, position: Position) -> LayerRule:
        """Return the rule of one call."""
        if position.is_first and self.first is not None:
            return self.first
        if position.is_last and self.last is not None:
            return self.last
        return self.layers.get(position.layer, self[call.operation.name])

    @property
    def is_terminal(self) -> bool:
        """Whether what arrives at the inputs is relevance, not a gradient."""
        return self.first is not None and self.first.terminal


class CheckedTable(dict[str, LayerRule], ABC):
    """Rules that are right only for some graphs, and check that of each finished forward.

    They have a state of their own, so that a forward under them cannot be recorded and replayed.
    """

    @abstractmethod
    def check(self, outputs: Sequence[Tensor]) -> None:
        """Check the graph of a forward before its backwards.

        Args:
            outputs: the scores, and other values whose gradients may be asked for.

        Raises:
            ModelError: the rules would be wrong for it.
        """
