"""Operation counts: multiply-adds by kind of convolution, and bytes moved."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Literal

from torchattr.kernels import Convolution

CostKind = Literal["3x3", "1x1", "other", "depthwise", "bytes", "launches"]
"""A kind of convolution, the bytes moved, or the launches."""
OpCounts = Counter[CostKind]
"""Multiply-adds by the kind of convolution, and bytes under `bytes`."""


def of_bytes(count: int) -> OpCounts:
    return Counter({"bytes": count})


def of_convolution(conv: Convolution, pixels: int) -> OpCounts:
    """Count the multiply-adds of a convolution for a number of output pixels."""
    return Counter({kind_of(conv): pixels * prod(conv.weight.shape)})


def kind_of(conv: Convolution) -> CostKind:
    """Return which of the measured kinds a convolution is."""
    if conv.groups > 1:
        return "depthwise"
    if conv.extent == (1, 1):
        return "1x1"
    wide = min(conv.weight.shape[:2]) >= 16
    plain = conv.stride == (1, 1) and conv.dilation == (1, 1)
    return "3x3" if conv.extent == (3, 3) and plain and wide else "other"
