"""What the graph of a forward says before any backward runs: who reads what, who goes together.

Two pairs go back in one pass over memory. A max-pool whose switches say that its maximum is
positive does the work of the rectifier before it, whose mask can then be forgotten. A rectifier
scales its gradient for the batch-norm before it. Both need that nobody else reads what lies
between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, UntypedStorage

from torchattr.layers.autograd import is_rewritten
from torchattr.layers.rules.norm import BatchNormGradient
from torchattr.layers.rules.pool import MaxPoolGradient, window_of
from torchattr.layers.rules.relu import gate_of

Readers = Mapping[Any, list[Any]]
"""For each node those that read its output."""


def nodes_of(*outputs: Tensor, until: Any = None) -> Iterator[Any]:
    """Walk the graph from `outputs` down to where it was entered, or to the node `until`."""
    waiting = [one.grad_fn for one in outputs if one.grad_fn not in (None, until)]
    seen = {*waiting, until}
    while waiting:
        node = waiting.pop()
        yield node
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)


def prepare_backward(output: Tensor, recorded: Iterable[Tensor]) -> None:
    """Note at each call what its backward may do besides its own work, or leave to another.

    Args:
        output: where gradients start.
        recorded: where they may start or be read besides.
    """
    if output.grad_fn is None:
        return
    readers = _readers(nodes_of(output, *recorded))
    readers[output.grad_fn].append(None)
    for node in filter(is_rewritten, readers):
        node.sole_reader = _is_read_by_maker(readers[node])
        _pair(node, readers)
        node.droppable = ()


def _readers(nodes: Iterator[Any]) -> dict[Any, list[Any]]:
    readers: dict[Any, list[Any]] = {}
    for node in nodes:
        readers.setdefault(node, [])
        for below, _ in node.next_functions:
            readers.setdefault(below, []).append(node)
    return readers


def _is_read_by_maker(readers: list[Any]) -> bool:
    """Tell whether the only gradient that comes here is one that a rule has just made."""
    return len(readers) == 1 and is_rewritten(readers[0]) and readers[0].plan.fresh


def _pair(node: Any, readers: Readers) -> None:
    """Let the only reader of this node do its work, if it can."""
    if len(readers[node]) != 1 or not is_rewritten(readers[node][0]):
        return
    above = readers[node][0]
    if _can_gate(above, node):
        above.rectifier, node.is_done_above = node.plan, True
        for mask in node.droppable:
            _give_back(mask.untyped_storage())
    elif _can_scale(above, node):
        above.norm, node.is_done_above = node.call, True


def _give_back(storage: UntypedStorage) -> None:
    """Free the memory at once; the graph holds the tensor itself, which nobody will read."""
    if storage.resizable():
        storage.resize_(0)


def _can_gate(pool: Any, relu: Any) -> bool:
    return (
        pool.plan.consists_of(MaxPoolGradient)
        and window_of(pool.call).tells_open
        and relu.call.operation.name == "relu"
        and relu.call.upper is None
        and _has_known_gates(relu)
    )


def _can_scale(relu: Any, norm: Any) -> bool:
    return (
        norm.plan.consists_of(BatchNormGradient)
        and relu.call.operation.name == "relu"
        and not relu.is_done_above
        and _has_known_gates(relu)
    )


def _has_known_gates(relu: Any) -> bool:
    return all(gate_of(rule) is not None for rule in relu.plan.rules)
