"""Backwards of several gradients at once: `vmap` over the graph, where all of it can follow.

PyTorch's own nodes can, and rules that say so (:func:`torchattr.layers.rule.batchable`). Everything
else that runs Python in a backward, such as a function of the user's or a checkpointed part, must
see one gradient at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.overrides import TorchFunctionMode

from torchattr.core.torch_private import vmap_with_none
from torchattr.core.undoing import Undo, undoing
from torchattr.layers.autograd import runs_rules
from torchattr.layers.graph import nodes_between
from torchattr.layers.guards import enter_mode
from torchattr.layers.nodes import UnknownNode, operations_of
from torchattr.layers.rule import is_batchable


class NotBatched(RuntimeError):
    """A backward would show a batch of gradients to code that expects a single one."""


def largest_gradient(output: Tensor, edges: Sequence[GradientEdge], table: int) -> int | None:
    """Return the size of the largest gradient between an output and some edges.

    `None` if not all nodes between them can take several gradients at once.

    Args:
        output: where gradients start.
        edges: where they are read.
        table: the position of the rules in force.
    """
    sizes = [output.numel()]
    for node in nodes_between(output, {edge.node for edge in edges}):
        if not _takes_several(node, table):
            return None
        sizes += [prod(one.shape) for one in node._input_metadata]
    sizes += [prod(edge.node._input_metadata[edge.output_nr].shape) for edge in edges]
    return max(sizes)


def _takes_several(node: Any, table: int) -> bool:
    if runs_rules(node):
        state = node.state
        alone = state.partner is None and not state.is_done_above
        return alone and is_batchable(state.rules[table])
    try:
        operations_of(type(node), [node])
    except UnknownNode:
        return False
    return type(node).__name__ not in _ONE_BY_ONE


_ONE_BY_ONE = frozenset(
    (
        "ScaledDotProductFlashAttentionBackward0",
        "ScaledDotProductEfficientAttentionBackward0",
        "ScaledDotProductCudnnAttentionBackward0",
    )
)
"""Nodes that PyTorch does not map, other than by a loop of its own."""


def mapped_backward(
    backward: Callable[[Tensor], Sequence[Tensor | None]], seeds: Tensor
) -> Sequence[Tensor | None]:
    """Run a backward from all seeds at once; each gradient has their first dimension.

    Raises:
        NotBatched: the backward runs Python code that is no rule.
    """
    alone = partial(_without_calls, backward)
    mapped = vmap_with_none(alone, 0, 0, allow_none_pass_through=True)
    found: Sequence[Tensor | None] = mapped(seeds)
    return found


def _without_calls(
    backward: Callable[[Tensor], Sequence[Tensor | None]], seed: Tensor
) -> Sequence[Tensor | None]:
    def run(undo: Undo) -> Sequence[Tensor | None]:
        enter_mode(undo, _RefuseCalls())
        return backward(seed)

    return undoing(run)


class _RefuseCalls(TorchFunctionMode):
    """Stops a backward at any function that it calls in Python; rules run without modes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotBatched("code of the model's runs in its backward")
