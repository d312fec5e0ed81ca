"""The input of a layer: kept, or computed again where that costs little."""

from __future__ import annotations

from typing import Any
from weakref import ref

from torch import Tensor

from torchattr.core.torch_private import top_saved_tensors_hooks
from torchattr.layers.autograd import runs_rules
from torchattr.layers.operations.operation import Call
from torchattr.layers.rule import LayerRule

FEW_PRODUCTS = 32
"""An output that is the sum of at most so many products is computed again in the time of a few
passes over memory: those of a 3 x 3 convolution of an image's channels, or of each channel alone."""


def kept_input(rule: LayerRule, call: Call, x: Tensor) -> Tensor:
    """Return what a rule saves for its input: the tensor that :func:`input_of` begins with.

    It is the input itself, or that of a cheap convolution before it, which the same rule keeps
    there anyway.
    """
    call.packer = _packer()
    between: list[Call] = []
    node: Any = x.grad_fn
    while runs_rules(node) and _is_elementwise(node.state.call):
        between.insert(0, node.state.call)
        node = node.next_functions[0][0]
    if not runs_rules(node) or not _is_cheap(node.state.call, x):
        return x
    # A checkpointed part that runs again must save the same, and sees what it saved itself only.
    if node.state.call.packer != call.packer:
        return x
    kept = node.rules.saved_by(rule, node.state)
    if not kept:
        return x
    call.recomputes = (node.state.call, *between)
    return kept[0]


def input_of(call: Call, kept: Tensor) -> Tensor:
    """Return the input of a call, given what was saved for it."""
    for earlier in call.recomputes:
        kept = earlier.compute(kept)
    return kept


def _packer() -> Any:
    """Return the hook that packs what is saved at present, without keeping it alive."""
    hooks = top_saved_tensors_hooks(False)
    if hooks is None:
        return None
    pack, _ = hooks
    return ref(pack) if type(pack).__weakrefoffset__ else pack


def _is_elementwise(call: Call) -> bool:
    return call.operation.kind in ("rectifier", "activation") or call.operation.name == "batch_norm"


def _is_cheap(call: Call, x: Tensor) -> bool:
    """Whether a call is a cheap convolution of an input that is kept, in the dtype of `x`."""
    # Under autocast, the dtype of an output differs from that of the input.
    is_whole = call.operation.name == "conv" and not call.recomputes and call.dtype is x.dtype
    return is_whole and not call.transposed and call.weight[0].numel() <= FEW_PRODUCTS
