"""Rule tables that look at a finished forward, to choose rules by place or to check its graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from torchattr.errors import RuleError
from torchattr.layers.operations.operation import Call
from torchattr.layers.rule import LayerRule

WEIGHTED = ("conv", "linear")
"""The operations whose calls have rules by their place."""


@dataclass(frozen=True)
class Position:
    """Where a convolution or linear layer stands in a forward.

    Attributes:
        layer: the name of the module that it belongs to; empty if none does.
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
        inside: rules of all other operations that run inside a module, by its name. They replace
            those of the operations, whatever these are.
        strict: whether an operation that is neither linear nor known may not carry relevance.
    """

    def __init__(
        self,
        rules: Mapping[str, LayerRule],
        *,
        first: LayerRule | None = None,
        last: LayerRule | None = None,
        layers: Mapping[str, LayerRule] | None = None,
        inside: Mapping[str, LayerRule] | None = None,
        strict: bool = True,
    ) -> None:
        super().__init__(rules)
        self.first = first
        self.last = last
        self.layers = layers or {}
        self.inside = inside or {}
        self.strict = strict
        for operation in WEIGHTED:
            savers = self._saving(operation)
            if len({type(rule).save for rule in savers}) > 1:
                names = ", ".join(sorted({type(rule).__name__ for rule in savers}))
                raise RuleError(
                    f"the rules {names} save different tensors, so they cannot serve calls of one"
                    " operation by place; derive them from one class that saves what all need"
                )

    def _saving(self, operation: str) -> list[LayerRule]:
        """Return the rules that save tensors, of those that calls of an operation may have."""
        places = [self.get(operation), self.first, self.last, *self.layers.values()]
        return [rule for rule in places if rule and type(rule).save is not LayerRule.save]

    def rule_for(self, call: Call, position: Position) -> LayerRule:
        """Return the rule of one call."""
        if position.is_first and self.first is not None:
            return self.first
        if position.is_last and self.last is not None:
            return self.last
        return self.layers.get(position.layer, self[call.operation.name])

    def of_example(self, number: int, count: int) -> Composite:
        """Return the rules for one example of a batch, as :meth:`LayerRule.of_example`."""

        made: dict[int, LayerRule] = {}

        def own(rule: LayerRule) -> LayerRule:
            # One rule for many calls stays one.
            return made.setdefault(id(rule), rule.of_example(number, count))

        def of_each(rules: Mapping[str, LayerRule]) -> dict[str, LayerRule]:
            return {name: own(rule) for name, rule in rules.items()}

        return Composite(
            of_each(self),
            first=self.first and own(self.first),
            last=self.last and own(self.last),
            layers=of_each(self.layers),
            inside=of_each(self.inside),
            strict=self.strict,
        )

    def has_rows(self, count: int) -> bool:
        """Whether one of the rules has them, see :meth:`LayerRule.has_rows`."""
        places = [self.first, self.last, *self.layers.values(), *self.inside.values()]
        return any(rule.has_rows(count) for rule in [*self.values(), *places] if rule)

    def saving(self, operation: str, module: str = "") -> LayerRule | None:
        """Return a rule that saves what each rule of an operation's calls may need.

        Which call is the last is known only when all have run.

        Args:
            operation: the operation.
            module: the name of the module that it runs in, if rules depend on that.
        """
        if operation not in WEIGHTED:
            return self.inside.get(module, self.get(operation))
        return next(iter(self._saving(operation)), self.get(operation))


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
