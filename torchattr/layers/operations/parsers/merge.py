"""Operations that join branches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.layers.operations.parsers.table import Parsed, aten, call_pattern


@call_pattern(
    "add",
    *(torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__),
    *(aten.add.Tensor, aten.add_.Tensor),
)
def _add(input: Any, other: Any, *, alpha: float = 1) -> Parsed | None:
    if not (isinstance(input, Tensor) and isinstance(other, Tensor)):
        return None
    return Parsed((input, other), {"alpha": alpha})


@call_pattern("cat", torch.cat, torch.concat, torch.concatenate, aten.cat)
def _cat(tensors: Any, dim: int = 0, *, axis: int | None = None) -> Parsed:
    return Parsed(tuple(tensors), {"dim": dim if axis is None else axis})
