"""Functions by how they treat pixels: pointwise, rearranging, padding, resizing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.torch_private import OpOverloadPacket, aten_nn
from torchattr.incremental.arguments import Ref
from torchattr.incremental.tape import TapeEntry

_OWNERS = (torch, Tensor, F, aten_nn)


def _variants_of(names: Iterable[str]) -> frozenset[Any]:
    """Return the functions of these names, with their in-place, reflected and aten variants."""
    functions: set[Any] = set()
    for name in names:
        for spelled in (name, f"{name}_", f"__{name}__", f"__r{name}__", f"__i{name}__"):
            functions |= {getattr(owner, spelled) for owner in _OWNERS if hasattr(owner, spelled)}
            packet = getattr(torch.ops.aten, spelled, None)
            if isinstance(packet, OpOverloadPacket):
                functions |= {getattr(packet, overload) for overload in packet.overloads()}
    return frozenset(functions)


POINTWISE = _variants_of(
    (
        *("add", "sub", "subtract", "rsub", "mul", "multiply", "div", "divide", "truediv", "pow"),
        *("true_divide", "float_power"),
        *("maximum", "minimum", "clamp", "clip", "clamp_min", "clamp_max", "neg", "abs"),
        *("sigmoid", "tanh", "hardsigmoid", "softsign", "logsigmoid", "tanhshrink", "hardtanh"),
        *("exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos"),
        *("erf", "sign", "floor", "ceil", "round", "threshold", "hardshrink", "softshrink"),
        *(
            "to",
            "type_as",
            "float",
            "double",
            "clone",
            "contiguous",
            "detach",
            "positive",
            "relu",
            "silu",
            "hardswish",
            "gelu",
        ),
    )
)
"""Calls whose result at a position depends on that position and on constants only."""

REARRANGING = _variants_of(
    (
        *("view", "reshape", "permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims"),
        *("unsqueeze", "squeeze", "chunk", "split", "tensor_split", "narrow", "select", "unbind"),
        *("getitem", "flip", "roll", "channel_shuffle", "split_with_sizes", "slice", "flatten"),
        *("unflatten", "alias", "view_as", "index_select"),
    )
)
"""Calls whose result holds elements of their input, unchanged."""

RESHAPING = _variants_of(("view", "reshape"))
"""Calls whose arguments may contain the batch size."""

AVERAGING = frozenset({torch.mean, Tensor.mean, torch.ops.aten.mean.dim})

PADDING = frozenset({F.pad, aten_nn.pad, torch.ops.aten.pad.default})

RESIZING = frozenset({F.interpolate})


class CannotLower(Exception):
    """A call cannot be lowered and is computed densely; the message says why."""


def name_of(function: Any) -> str:
    """Return a readable name for a function that the model called."""
    return str(getattr(function, "__name__", function))


def single_output(outputs: Sequence[int], entry: TapeEntry) -> Sequence[int]:
    """Return the outputs of a call that returns one tensor.

    Raises:
        CannotLower: it returns several.
    """
    if not isinstance(entry.result, Ref):
        raise CannotLower(f"{name_of(entry.function)} returns more than one tensor")
    return outputs
