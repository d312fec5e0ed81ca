"""What the graph of a finished forward says: who reads which gradient, and which calls pair up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, UntypedStorage

from torchattr.layers.autograd import is_rewritten
from torchattr.layers.fusion import FUSIONS, Fusion, GraphStep

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
    fusions = list(FUSIONS.snapshot().values())
    for node in filter(is_rewritten, readers):
        node.step.sole_reader = _is_read_by_maker(readers[node])
        _pair(node, readers, fusions)
        node.step.droppable = ()


def _readers(nodes: Iterator[Any]) -> dict[Any, list[Any]]:
    readers: dict[Any, list[Any]] = {}
    for node in nodes:
        readers.setdefault(node, [])
        for below, _ in node.next_functions:
            readers.setdefault(below, []).append(node)
    return readers


def _is_read_by_maker(readers: list[Any]) -> bool:
    """Whether the only gradient that comes here is one that a rule has just made."""
    return len(readers) == 1 and is_rewritten(readers[0]) and readers[0].rules.fresh


def _pair(node: Any, readers: Readers, fusions: Iterable[Fusion]) -> None:
    """Let the only reader of this node do its backward, if some fusion fits."""
    if len(readers[node]) != 1 or not is_rewritten(readers[node][0]):
        return
    above, below = readers[node][0].step, node.step
    fusion = next((one for one in fusions if one.fits(above, below)), None)
    if fusion is None:
        return
    above.fusion, above.partner, below.is_done_above = fusion, below, True
    if fusion.forgets_below:
        _forget(below)


def _forget(step: GraphStep) -> None:
    """Free the memory at once; the graph holds the tensors themselves, which nobody will read."""
    for tensor in step.droppable:
        _give_back(tensor.untyped_storage())


def _give_back(storage: UntypedStorage) -> None:
    if storage.resizable():
        storage.resize_(0)
