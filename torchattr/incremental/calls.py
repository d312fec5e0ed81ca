"""Which functions treat every pixel by itself, and which only move values about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_OWNERS = (torch, Tensor, F, torch._C._nn)


def _spelled(names: Iterable[str]) -> frozenset[Any]:
    """Give every function of these names, those that write in place and those of aten included."""
    found: set[Any] = set()
    for name in names:
        for spelled in (name, f"{name}_", f"__{name}__", f"__r{name}__", f"__i{name}__"):
            found |= {getattr(owner, spelled) for owner in _OWNERS if hasattr(owner, spelled)}
            packet = getattr(torch.ops.aten, spelled, None)
            if isinstance(packet, torch._ops.OpOverloadPacket):
                found |= {getattr(packet, overload) for overload in packet.overloads()}
    return frozenset(found)


POINTWISE = _spelled(
    (
        *("add", "sub", "subtract", "mul", "multiply", "div", "divide", "truediv", "pow"),
        *("maximum", "minimum", "clamp", "clip", "clamp_min", "clamp_max", "neg", "abs"),
        *("sigmoid", "tanh", "hardsigmoid", "softsign", "logsigmoid", "tanhshrink", "hardtanh"),
        *("exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos"),
        *("erf", "sign", "floor", "ceil", "round", "threshold", "hardshrink", "softshrink"),
        *("clone", "contiguous", "detach", "positive", "relu", "silu", "hardswish", "gelu"),
    )
)
"""Calls whose result at a place depends on what is at that place, and on constants, only."""

MOVING = _spelled(
    (
        *("view", "reshape", "permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims"),
        *("unsqueeze", "squeeze", "chunk", "split", "tensor_split", "narrow", "select", "unbind"),
        *("getitem", "flip", "roll", "channel_shuffle", "split_with_sizes", "slice", "flatten"),
        *("unflatten", "alias", "view_as", "index_select"),
    )
)
"""Calls whose result holds elements of their input, unchanged."""

PADDING = frozenset({F.pad, torch._C._nn.pad, torch.ops.aten.pad.default})

RESIZING = frozenset({F.interpolate})
