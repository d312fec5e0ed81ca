"""Walks the graph of a finished forward, and tells the rules of a composite about their places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from torchattr.core.gradient_mode import gradients
from torchattr.core.select import original_name
from torchattr.core.types import Forward
from torchattr.errors import RuleError
from torchattr.layers.autograd import is_entrance, runs_rules
from torchattr.layers.backward import BackwardState
from torchattr.layers.composite import WEIGHTED, Composite, Position
from torchattr.layers.graph import is_rectifier, nodes_of, oldest_first, readers_of
from torchattr.layers.guards import named_modules_of
from torchattr.layers.moving_nodes import keeps_sign, only_moves
from torchattr.layers.operations.operation import Call
from torchattr.layers.operations.place import Place
from torchattr.layers.rule import LayerRule, Merged


@dataclass(frozen=True)
class Currency:
    """In what a backward of one composite pays at each place: what relevance is, given a gradient.

    Attributes:
        table: the position of the composite among the tables.
        paid_out: the nodes at which relevance itself arrives, since a rule above returned it.
    """

    table: int
    paid_out: frozenset[Any] = frozenset()

    def factor(self, value: Tensor, edge: GradientEdge | None) -> Tensor:
        """Return what the gradient at an edge is multiplied by to give relevance.

        Args:
            value: the value whose gradient that is.
            edge: where it is read.
        """
        if edge is None:
            return value
        if edge.node in self.paid_out:
            return torch.ones_like(value)
        place = edge.node.state.places.get(self.table) if runs_rules(edge.node) else None
        if place is None or place.norm is None:
            return value
        # Together with the norm it is one operation, whose output is the norm's.
        with gradients(False):
            normed: Tensor = place.norm.compute(value)
        return normed


def arrange(
    output: Tensor, table: int, composite: Composite, model: Forward, state: BackwardState
) -> Currency:
    """Choose the rule of each call, and tell it of its neighbours.

    Args:
        output: the scores.
        table: the position of the composite among the tables.
        composite: the composite.
        model: names the layers.
        state: knows whether constants are worth keeping.

    Returns:
        how to read relevance from the gradients of a backward.

    Raises:
        RuleError: a rule whose result is relevance has operations below it that would change that,
            or nothing of the signal reaches the inputs.
    """
    arrangement = _Arrangement(output, table, composite, state)
    arrangement.choose(WeightOwners(model if composite.layers else None))
    arrangement.demand_signal()
    arrangement.place()
    return Currency(table, frozenset(arrangement.paid_out()))


class WeightOwners:
    """The modules that hold each weight of a model.

    Args:
        model: the model; without one, no weight has an owner.
    """

    def __init__(self, model: Forward | None) -> None:
        self._names: dict[int, list[str]] = {}
        for name, module in named_modules_of(model) if model is not None else ():
            for parameter in module.parameters(recurse=False):
                self._names.setdefault(id(parameter), []).append(original_name(name))

    def layer_of(self, call: Call, layers: Mapping[str, LayerRule]) -> str:
        """Return the name of the layer that a call belongs to.

        It is the module that runs, if that holds the weight, or if no module does, since it is
        computed (by weight norm, say); else the one that holds it, which another runs for.

        Args:
            call: the call.
            layers: the rules of layers.

        Raises:
            RuleError: several modules with different rules hold the weight, and none of them runs.
        """
        owners = self._names.get(id(call.weight), [])
        if not owners or call.layer in owners:
            return call.layer
        if len({_described(layers.get(owner)) for owner in owners}) > 1:
            raise RuleError(
                f"the composite has different rules for {' and '.join(owners)}, which share one"
                f" weight, but {call.spelling} uses it"
                f" {f'in {call.layer}' if call.layer else 'outside of all layers'}, so it is not"
                " known which of the rules it has; give both the same"
            )
        return owners[0]


def _described(rule: LayerRule | None) -> Any:
    """Return what two rules that do the same have in common."""
    parameters = {} if rule is None else vars(rule)
    values = [(k, id(v) if isinstance(v, Tensor) else v) for k, v in parameters.items()]
    return type(rule), tuple(values)


class _Arrangement:
    """The places of one table's rules in one graph."""

    def __init__(
        self, output: Tensor, table: int, composite: Composite, state: BackwardState
    ) -> None:
        self._table = table
        self._composite = composite
        self._state = state
        self._top: Any = output.grad_fn
        self._nodes = oldest_first(nodes_of(output))
        self._readers = readers_of(output)
        self._readers[self._top].append(None)
        self._live: set[Any] = set()
        self._nonnegative: set[Any] = set()

    def choose(self, owners: WeightOwners) -> None:
        """Choose rules by position, from the first call on; note where the signal passes."""
        weighted = []
        for node in self._nodes:
            below = [source for source, _ in node.next_functions]
            if _is_rectifying(node) or (keeps_sign(node) and self._nonnegative.issuperset(below)):
                self._nonnegative.add(node)
            if self._is_live(node):
                self._live.add(node)
                if runs_rules(node) and node.state.call.operation.name in WEIGHTED:
                    weighted.append(node)
        for node in weighted:
            layer = owners.layer_of(node.state.call, self._composite.layers)
            position = Position(layer, node is weighted[0], node is weighted[-1])
            self._replace(node, self._composite.rule_for(node.state.call, position))

    def _is_live(self, node: Any) -> bool:
        """Whether the signal passes a node on its way to where the graph was entered."""
        if is_entrance(node):
            return True
        below = [source for source, _ in node.next_functions]
        passes_to = self._rule_of(node).passes_to if runs_rules(node) else None
        reached = below if passes_to is None else [below[position] for position in passes_to]
        return not self._live.isdisjoint(reached)

    def demand_signal(self) -> None:
        """Check that anything reaches the inputs.

        Raises:
            RuleError: all ways down end at operations whose output the rules count as a constant.
        """
        if self._top in self._live:
            return
        rules = [node for node in self._nodes if runs_rules(node)]
        ends = [node for node in rules if self._rule_of(node).passes_to is not None]
        if ends:
            operation = ends[-1].state.call.operation.name
            softmax = ', or pass rules={"softmax": "own"}' if operation == "softmax" else ""
            raise RuleError(
                f"no relevance reaches the inputs: all of it ends at {_named(ends[-1])}, whose"
                f" output these rules count as a constant; explain a value before it{softmax}"
            )

    def place(self) -> None:
        """Tell each call of its neighbours."""
        places = {node: self._place_of(node) for node in self._nodes if runs_rules(node)}
        for node, place in places.items():
            if self._rule_of(node).merges and node in self._live:
                self._note_readers(node, place, places)
            node.state.places = {**node.state.places, self._table: place}
        for node in self._nodes:
            if node in places and node in self._live:
                places[node].sources = self._sources(node, places)

    def _place_of(self, node: Any) -> Place:
        below = [source for source, _ in node.next_functions]
        dependent = [source in self._live for source in below]
        nonnegative = self._nonnegative.issuperset(below) and all(
            _is_unchanged(source, node, position) for position, source in enumerate(below)
        )
        return Place(
            dependent,
            nonnegative=nonnegative,
            arrivals=self._state.arrivals,
            keeps=self._state.may_keep,
        )

    def _note_readers(self, node: Any, place: Place, places: Mapping[Any, Place]) -> None:
        """Merge a batch-norm that alone reads the output, and look for a rectifier behind."""
        reader = self._sole_reader(node)
        if reader is not None and self._can_merge(node, reader):
            place.norm, places[reader].completes = reader.state.call, place
            self._replace(reader, _MERGED)
            reader = self._sole_reader(reader)
        if reader is not None and is_rectifier(reader.state.call):
            places[reader].gates = place

    def _sources(self, node: Any, places: Mapping[Any, Place]) -> list[Place | None]:
        """Return for each input of a call that may know it the place that needs it."""
        if not self._rule_of(node).merges and node.state.call.operation.name not in _MOVING:
            return []
        below = [source for source, _ in node.next_functions[: len(node.state.call.shapes)]]
        return [
            self._source(node, position, source, places) for position, source in enumerate(below)
        ]

    def _source(
        self, reader: Any, position: int, node: Any, places: Mapping[Any, Place]
    ) -> Place | None:
        """Return the place that needs the output of a node."""
        place = places.get(node)
        if place is None or not _is_unchanged(node, reader, position):
            return None
        if reader.state.call.operation.name == "max_pool" and self._sole_reader(node) is not reader:
            # A pool knows only the elements that won.
            return None
        return place if any(place.sources) else place.gates

    def _sole_reader(self, node: Any) -> Any:
        """Return the only call that reads a node's output, if that is an operation's."""
        readers = self._readers[node]
        if len(readers) != 1 or not runs_rules(readers[0]):
            return None
        return readers[0] if _is_unchanged(node, readers[0], 0) else None

    def _can_merge(self, node: Any, reader: Any) -> bool:
        """Whether a reader is a batch-norm over a weighted operation's channels, as its rule is."""
        if reader.state.call.operation.name != "batch_norm":
            return False
        if not self._rule_of(reader).mergeable:
            return False
        return node.state.call.operation.name == "conv" or len(reader.state.call.shape) == 2

    def paid_out(self) -> set[Any]:
        """Return the nodes at which relevance arrives, which must reach the inputs unchanged.

        Raises:
            RuleError: an operation below would change it, or the signal passes beside the rule.
        """
        ends = [node for node in self._nodes if runs_rules(node) and self._rule_of(node).terminal]
        for node in ends:
            self._demand_unchanged(node)
        if ends and (beside := self._passing_beside(set(ends))) is not None:
            title = type(self._rule_of(ends[0])).__name__
            raise RuleError(
                f"the rule {title} of the first layer gives relevance, but {_named(beside)} also"
                " reads the inputs, whose share is a gradient there; choose a composite without a"
                " rule of its own for the first layer"
            )
        below = {node for end in ends for node in _nodes_below(end)}
        for node in below:
            if runs_rules(node):
                self._replace(node, self._rule_of(node).of_relevance())
        return below

    def _demand_unchanged(self, end: Any) -> None:
        for node in _nodes_below(end):
            if node in self._live and not only_moves(node):
                raise RuleError(
                    f"the rule {type(self._rule_of(end)).__name__} gives relevance, which"
                    f" {_named(node)} between {end.state.call.spelling} and the inputs would"
                    " change; do that step before the model, or choose a composite without a rule"
                    " of its own for the first layer"
                )

    def _passing_beside(self, ends: set[Any]) -> Any:
        """Return an operation through which the signal reaches the inputs beside the ends."""
        waiting, seen = list({self._top} - ends), set(ends)
        while waiting:
            node = waiting.pop()
            for below, _ in node.next_functions:
                if is_entrance(below):
                    return node
                if below in self._live and below not in seen:
                    seen.add(below)
                    waiting.append(below)
        return None

    def _rule_of(self, node: Any) -> LayerRule:
        rule: LayerRule = node.state.rules[self._table]
        return rule

    def _replace(self, node: Any, rule: LayerRule) -> None:
        rules = list(node.state.rules)
        rules[self._table] = rule
        node.state.rules = rules


def _is_unchanged(node: Any, reader: Any, position: int) -> bool:
    """Whether an operation reads a node's output as it was returned."""
    if not runs_rules(node):
        return True
    output: int = node.state.versions.output
    return output == reader.state.versions.inputs[position]


def _nodes_below(node: Any) -> Iterator[Any]:
    """Yield the nodes below one, down to where the graph was entered."""
    waiting, seen = [node], {node}
    while waiting:
        for below, _ in waiting.pop().next_functions:
            if below is None or below in seen:
                continue
            seen.add(below)
            if not is_entrance(below):
                waiting.append(below)
            yield below


def _is_rectifying(node: Any) -> bool:
    return runs_rules(node) and node.state.call.operation.name == "relu"


def _named(node: Any) -> str:
    """Return a readable name of the operation that a node is the backward of."""
    if runs_rules(node):
        return str(node.state.call.spelling)
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward").lower()


_MERGED = Merged()

# Operations whose output tells what their inputs were, as far as it depends on them.
_MOVING = frozenset(["max_pool", "cat"])
