"""Walk the graph of a finished forward: gradient readers and fused pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, UntypedStorage

from torchattr.layers.autograd import runs_rules
from torchattr.layers.backward import CallReaders
from torchattr.layers.fusion import FUSED_PAIRS, FusedPair
from torchattr.layers.operations.operation import Call


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


def oldest_first(nodes: Iterable[Any]) -> list[Any]:
    """Return nodes in the order in which they were made: each after those below it."""
    return sorted(nodes, key=_age)


def _age(node: Any) -> int:
    number: int = node._sequence_nr()
    return number


def nodes_between(output: Tensor, wanted: Iterable[Any]) -> Iterator[Any]:
    """Yield the nodes through which gradients of `output` pass on their way to the wanted ones."""
    above = set(wanted)
    for node in oldest_first(nodes_of(output)):
        if any(below in above for below, _ in node.next_functions):
            above.add(node)
            yield node


def prepare_backward(output: Tensor, readers: Mapping[Any, list[Any]]) -> None:
    """Fuse calls that form a pair, and let calls write over gradients that nothing else reads.

    Args:
        output: where gradients start.
        readers: the readers of each node's gradient, from there and from all tensors where
            gradients may also start; `None` where it may be read.
    """
    readers[output.grad_fn].append(None)
    pairs = list(FUSED_PAIRS.snapshot().values())
    for node, above in readers.items():
        if runs_rules(node):
            if len(above) == 1 and runs_rules(above[0]):
                _prepare_pair(above[0], node, pairs)
            node.state.saved = ()


def readers_of(*outputs: Tensor) -> dict[Any, list[Any]]:
    """Return the nodes below `outputs`, and for each those that read its gradient."""
    waiting = list({tensor.grad_fn: None for tensor in outputs if tensor.grad_fn is not None})
    readers: dict[Any, list[Any]] = {node: [] for node in waiting}
    while waiting:
        node = waiting.pop()
        for below, _ in node.next_functions:
            if below in readers:
                readers[below].append(node)
            elif below is not None:
                readers[below] = [node]
                waiting.append(below)
    return readers


def needs_copies(node: Any, readers: Mapping[Any, list[Any]]) -> bool:
    """Whether the model wrote over what a call's rules saved, and they need what that was.

    Args:
        node: the node of the call.
        readers: as for :func:`prepare_backward`.
    """
    if not node.state.is_written_over:
        return False
    (reader, *others) = readers[node]
    if others or not node.rules.reads_rectified or not _rectifies(reader):
        return True
    return not node.state.is_only_rectified(reader.state)


def _rectifies(node: Any) -> bool:
    """Whether nothing passes a node under any table where its output is not positive."""
    if not runs_rules(node) or not is_rectifier(node.state.call):
        return False
    return all(rule.rectifies for rule in node.state.rules)


def is_rectifier(call: Call) -> bool:
    """Whether a call is a rectifier without an upper bound."""
    return call.operation.name == "relu" and call.upper is None


def _prepare_pair(reader: Any, node: Any, pairs: Iterable[FusedPair]) -> None:
    """Prepare a call whose only reader is another call that runs rules.

    It may write over the gradient that arrives if the reader newly allocated it, and the reader
    runs its backward if a fused pair fits.
    """
    above, below = reader.state, node.state
    if reader.rules.fresh:
        below.call.readers = CallReaders(node.rules.backward_state)
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
