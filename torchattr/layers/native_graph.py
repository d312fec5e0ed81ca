"""What PyTorch's own graph tells of a forward: which operations ran between inputs and output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

from torchattr.core.torch_private import AccumulateGrad
from torchattr.layers.connection import is_flat
from torchattr.layers.coverage import Coverage
from torchattr.layers.graph import oldest_first
from torchattr.layers.nodes import operations_of
from torchattr.layers.operations.operation import OPERATIONS
from torchattr.layers.registry import RuleTable, default_rules
from torchattr.layers.stride_guard import is_ambiguous

_Below: TypeAlias = Mapping[Any, list[Any]]
"""The nodes that each node sends gradients to."""


class NativeGraph:
    """The part of a graph through which gradients flow from some nodes, the ends, to the sources.

    Args:
        ends: where gradients may start.
        sources: where gradients may be read.
        tables: the rules of each backward that may follow.

    Attributes:
        nodes: the nodes of each operation that lead to a source.
        coverage: their counts.

    Raises:
        UnknownNode: some node does not tell its operation.
    """

    def __init__(
        self, ends: Iterable[Any], sources: Iterable[Any], tables: Sequence[RuleTable]
    ) -> None:
        below = _nodes_below(ends)
        self._seen = below.keys()
        self._above, by_type, joins = _leading(below, set(sources))
        self.nodes: dict[str, list[Any]] = {}
        self.coverage = Coverage()
        for kind, members in by_type.items():
            for operation, nodes in operations_of(kind, members).items():
                self.nodes.setdefault(operation, []).extend(nodes)
                self.coverage.spellings[operation, kind.__name__] += len(nodes)
        for operation, nodes in self.nodes.items():
            self.coverage.calls[operation] = len(nodes)
        self._count_own(set(joins), tables)

    @cached_property
    def ambiguous(self) -> list[Any]:
        """The batch-norms whose backward needs gradients in the strides of a new tensor."""
        nodes = self.nodes.get("batch_norm", ())
        return [node for node in nodes if is_ambiguous(node._input_metadata[0].shape)]

    def leads_to_source(self, node: Any) -> bool:
        """Whether gradients that start at a node, of this graph or above it, reach a source."""
        waiting = [node]
        passed = set(self._seen)
        while waiting:
            node = waiting.pop()
            if node in self._above:
                return True
            if node is not None and node not in passed and not is_flat(node):
                passed.add(node)
                waiting += [below for below, _ in node.next_functions]
        return False

    def _count_own(self, joins: set[Any], tables: Sequence[RuleTable]) -> None:
        """Count what no rule serves: factors that depend on the inputs are no parameters."""
        ruled = default_rules().keys() | {name for table in tables for name in table}
        for operation, nodes in self.nodes.items():
            if operation not in ruled:
                self.coverage.own[operation] = len(nodes)
            elif OPERATIONS[operation].kind == "linear" and (own := joins.intersection(nodes)):
                self.coverage.own[operation] = len(own)


def _nodes_below(ends: Iterable[Any]) -> _Below:
    """Return the nodes below some others, and these; leaves are left out: they are parameters."""
    waiting = list(ends)
    found: dict[Any, list[Any]] = {}
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        below = found[node] = [
            other for other, _ in node.next_functions if other and type(other) is not AccumulateGrad
        ]
        waiting += [other for other in below if other not in found]
    return found


def _leading(
    below: _Below, sources: set[Any]
) -> tuple[set[Any], Mapping[type, list[Any]], list[Any]]:
    """Return all nodes that lead to a source, and the sources.

    Returns:
        these; the first of them by the type of node; those that lead there in several ways.
    """
    above, by_type, joins = sources, dict[type, list[Any]](), list[Any]()
    for node in oldest_first(below):
        uses = 0
        for other in below[node]:
            if other in above:
                uses += 1
        if uses:
            above.add(node)
            by_type.setdefault(type(node), []).append(node)
            if uses > 1:
                joins.append(node)
    return above, by_type, joins
