"""Rectifiers written as arithmetic: a mask of the positive elements, applied to the same tensor.

Whether a mask is that of its tensor's positive elements cannot be known from the call alone, so it
is compared; only masks of the tensor's own shape are. Where they differ, it is no rectifier; nor is
it where the mask opens or closes everything.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.layers.spellings.activation import is_zero
from torchattr.layers.spellings.table import Parsed, aten, spelling

RELU = {"upper": None}


@spelling("relu", torch.where, aten.where)
def _where(condition: Any, input: Any = None, other: Any = None) -> Parsed | None:
    if is_zero(other) and _is_positive(condition, input):
        return _relu_of(input)
    return _relu_of(other) if is_zero(input) and _is_negative(condition, other) else None


@spelling("relu", Tensor.where)
def _tensor_where(input: Tensor, condition: Any, other: Any) -> Parsed | None:
    return _where(condition, input, other)


@spelling(
    "relu",
    *(torch.mul, torch.multiply, Tensor.mul, Tensor.multiply, Tensor.__mul__, Tensor.__rmul__),
    aten.mul.Tensor,
)
def _mul(input: Any, other: Any) -> Parsed | None:
    if _is_positive(other, input):
        return _relu_of(input)
    return _relu_of(other) if _is_positive(input, other) else None


@spelling("relu", torch.masked_fill, Tensor.masked_fill, aten.masked_fill.Scalar)
def _masked_fill(input: Tensor, mask: Tensor, value: Any) -> Parsed | None:
    return _relu_of(input) if is_zero(value) and _is_negative(mask, input) else None


@spelling("relu", Tensor.masked_fill_, aten.masked_fill_.Scalar)
def _masked_fill_in_place(input: Tensor, mask: Tensor, value: Any) -> Parsed | None:
    return _relu_in_place(input) if is_zero(value) and _is_negative(mask, input) else None


@spelling("relu", Tensor.__setitem__)
def _set_item(input: Tensor, index: Any, value: Any) -> Parsed | None:
    return _relu_in_place(input) if is_zero(value) and _is_negative(index, input) else None


def _relu_of(input: Tensor) -> Parsed:
    return Parsed((input,), RELU, instead=(torch.relu, (input,)))


def _relu_in_place(input: Tensor) -> Parsed:
    return Parsed((input,), RELU, inplace=True, instead=(torch.relu_, (input,)))


@torch.no_grad()
def _is_positive(mask: Any, tensor: Any) -> bool:
    return _may_gate(mask, tensor) and _equal(mask, tensor > 0, tensor >= 0)


@torch.no_grad()
def _is_negative(mask: Any, tensor: Any) -> bool:
    return _may_gate(mask, tensor) and _equal(mask, tensor < 0, tensor <= 0)


def _may_gate(mask: Any, tensor: Any) -> bool:
    return (
        isinstance(mask, Tensor)
        and isinstance(tensor, Tensor)
        and mask.shape == tensor.shape
        and tensor.requires_grad
        and not (mask.requires_grad or mask.is_meta)
    )


def _equal(mask: Tensor, *gates: Tensor) -> bool:
    # A mask of one value alone may just as well be a padding or a dropout that lets all through.
    mixed = bool(mask.any()) and not bool(mask.all())
    return mixed and any(torch.equal(mask, gate.to(mask.dtype)) for gate in gates)
