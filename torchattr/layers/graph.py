"""Walk the graph of a finished forward: gradient readers and fused pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, UntypedStorage

from torchattr.layers.autograd import runs_rules
from torchattr.layers.backward import CallReaders
from torchattr.layers.fusion import FUSED_PAIRS, FusedPair

Readers = Mapping[Any, list[Any]]
"""The nodes that read each node's gradient."""


def nodes_of(*outputs: Tensor, until: Any = None) -> Iterator[Any]:
    """Walk the graph from `outputs` down to where it was entered, or to the node `until`."""
    waiting = [tensor.grad_fn for tensor in outputs if tensor.grad_fn not in (None, until)]
    seen = {*waiting, until}
    while waiting:
        node = waiting.pop()
        yield node
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)


def prepare_backward(output: Tensor, recorded: Iterable[Tensor]) -> None:
    """Determine the readers of each call's gradient, and fuse calls that form a pair.

    Args:
        output: where gradients start.
        recorded: tensors where they may also start or be read.
    """
    if output.grad_fn is None:
        return
    readers = _readers(nodes_of(output, *recorded))
    readers[output.grad_fn].append(None)
    pairs = list(FUSED_PAIRS.snapshot().values())
    for node in filter(runs_rules, readers):
        if _is_read_by_maker(readers[node]):
            node.state.call.readers = CallReaders(node.rules.backward_state)
        _fuse(node, readers, pairs)
        node.state.saved = ()


def _readers(nodes: Iterator[Any]) -> dict[Any, list[Any]]:
    readers: dict[Any, list[Any]] = {}
    for node in nodes:
        readers.setdefault(node, [])
        for below, _ in node.next_functions:
            readers.setdefault(below, []).append(node)
    return readers


def _is_read_by_maker(readers: list[Any]) -> bool:
    """Whether the only gradient that arrives here was newly allocated by a rule."""
    return len(readers) == 1 and runs_rules(readers[0]) and readers[0].rules.fresh


def _fuse(node: Any, readers: Readers, pairs: Iterable[FusedPair]) -> None:
    """Let the only reader of this node run its backward, if a fused pair fits."""
    if len(readers[node]) != 1 or not runs_rules(readers[node][0]):
        return
    above, below = readers[node][0].state, node.state
    pair = next((pair for pair in pairs if pair.fits(above, below)), None)
    # Autograd checks the shape of the gradient that the later call sends to the earlier one.
    if pair is None or len(above.call.shapes) != 1 or above.call.shapes != below.call.shapes:
        return
    above.partner, below.is_done_above = (pair, below), True
    if pair.forgets_below:
        for tensor in below.saved:
            _free(tensor.untyped_storage())


def _free(storage: UntypedStorage) -> None:
    """Free the memory at once; the graph keeps the tensor itself, which is never read again."""
    if storage.resizable():
        storage.resize_(0)
