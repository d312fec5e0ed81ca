"""The input of a layer: kept, or computed again where that costs little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ref

from torch import Tensor

from torchattr.core.torch_private import top_saved_tensors_hooks
from torchattr.layers.autograd import runs_rules
from torchattr.layers.operations.operation import Call
from torchattr.layers.rule import LayerRule

FEW_PRODUCTS = 32
"""A sum of at most so many products is computed again in the time of a few passes over memory: in a
3 x 3 convolution of an image's channels, or of each channel alone."""


@dataclass(frozen=True)
class Notes:
    """What is noted of a layer's call in the forward.

    Attributes:
        packer: the hook that packed what its rule saved.
        steps: the calls that compute its input from what its rule saved instead of it.
    """

    packer: Any
    steps: Sequence[Call]


def kept_input(rule: LayerRule, call: Call, x: Tensor) -> Tensor:
    """Return what a rule saves for its input: the tensor that :func:`input_of` begins with.

    It is the input itself, or that of a cheap convolution before it, which the same rule keeps
    there anyway.
    """
    packer = _packer()
    kept, steps = _origin(rule, x, packer) or (x, ())
    call.notes = Notes(packer, steps)
    return kept


def input_of(call: Call, kept: Tensor) -> Tensor:
    """Return the input of a call, given what was saved for it."""
    for step in call.notes.steps:
        kept = step.compute(kept)
    return kept


def _origin(rule: LayerRule, x: Tensor, packer: Any) -> tuple[Tensor, Sequence[Call]] | None:
    """Return a tensor that a rule saved, and cheap calls that compute `x` from it."""
    steps = _steps_to(x)
    if not steps or not _is_cheap(steps[0].state.call, x):
        return None
    first = steps[0]
    # A checkpointed part that runs again must save the same, and finds only what it saved itself.
    if first.state.call.notes.packer != packer or first.state.call.notes.steps:
        return None
    kept = first.rules.saved_by(rule, first.state)
    return (kept[0], [node.state.call for node in steps]) if kept else None


def _steps_to(x: Tensor) -> list[Any]:
    """Return the nodes from a convolution or linear layer to `x`, if all of them may run again."""
    node, version, steps = x.grad_fn, x._version, list[Any]()
    while runs_rules(node) and node.state.versions.output == version:
        steps.insert(0, node)
        if node.state.call.operation.kind == "linear":
            return steps
        if not _is_elementwise(node.state.call):
            break
        node, version = node.next_functions[0][0], node.state.versions.inputs[0]
    return []


def _is_elementwise(call: Call) -> bool:
    return call.operation.kind in ("rectifier", "activation") or call.operation.name == "batch_norm"


def _is_cheap(call: Call, x: Tensor) -> bool:
    """Whether a call is a cheap convolution, in the dtype of `x`."""
    # Under autocast, the dtype of an output differs from that of the input.
    if call.operation.name != "conv" or call.transposed or call.dtype is not x.dtype:
        return False
    return bool(call.weight[0].numel() <= FEW_PRODUCTS)


def _packer() -> Any:
    """Return the hook that packs what is saved at present, without keeping it alive."""
    hooks = top_saved_tensors_hooks(False)
    if hooks is None:
        return None
    pack, _ = hooks
    return ref(pack) if getattr(type(pack), "__weakrefoffset__", 0) else pack
