"""Rectifiers written as arithmetic: a mask of the positive elements, applied to the same tensor.

Neither the call nor the values show whether a mask was made from its tensor. The forward records
the origins of its masks, and without them nothing is parsed as a rectifier here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.layers.operations.parsers.masks import MaskOrigins, is_zero
from torchattr.layers.operations.parsers.table import Parsed, aten, call_pattern


@call_pattern("relu", torch.where, aten.where, masked=True)
def _where(
    masks: MaskOrigins, condition: Any, input: Any = None, other: Any = None
) -> Parsed | None:
    if masks.is_positive(condition, input) and _is_blank(other, input):
        return _relu_of(input)
    if masks.is_negative(condition, other) and _is_blank(input, other):
        return _relu_of(other)
    return None


@call_pattern("relu", Tensor.where, masked=True)
def _tensor_where(masks: MaskOrigins, input: Tensor, condition: Any, other: Any) -> Parsed | None:
    return _where(masks, condition, input, other)


@call_pattern(
    "relu",
    *(torch.mul, torch.multiply, Tensor.mul, Tensor.multiply, Tensor.__mul__, Tensor.__rmul__),
    aten.mul.Tensor,
    masked=True,
)
def _mul(masks: MaskOrigins, input: Any, other: Any) -> Parsed | None:
    if masks.is_positive(other, input):
        return _relu_of(input)
    return _relu_of(other) if masks.is_positive(input, other) else None


@call_pattern(
    "relu",
    *(Tensor.mul_, Tensor.multiply_, Tensor.__imul__, aten.mul_.Tensor),
    masked=True,
)
def _mul_in_place(masks: MaskOrigins, input: Any, other: Any) -> Parsed | None:
    return _relu_in_place(input) if masks.is_positive(other, input) else None


@call_pattern("relu", torch.masked_fill, Tensor.masked_fill, aten.masked_fill, masked=True)
def _masked_fill(masks: MaskOrigins, input: Tensor, mask: Tensor, value: Any) -> Parsed | None:
    return _relu_of(input) if masks.is_negative(mask, input) and is_zero(value) else None


@call_pattern("relu", Tensor.masked_fill_, aten.masked_fill_, masked=True)
def _masked_fill_in_place(
    masks: MaskOrigins, input: Tensor, mask: Tensor, value: Any
) -> Parsed | None:
    return _relu_in_place(input) if masks.is_negative(mask, input) and is_zero(value) else None


@call_pattern("relu", Tensor.__setitem__, masked=True)
def _set_item(masks: MaskOrigins, input: Tensor, index: Any, value: Any) -> Parsed | None:
    return _relu_in_place(input) if masks.is_negative(index, input) and is_zero(value) else None


def _is_blank(zero: Any, tensor: Tensor) -> bool:
    """Whether `zero` is zero throughout and does not widen the tensor that it replaces."""
    return is_zero(zero) and (not isinstance(zero, Tensor) or _fits_into(zero.shape, tensor.shape))


def _fits_into(shape: torch.Size, other: torch.Size) -> bool:
    pairs = zip(reversed(shape), reversed(other), strict=False)
    return len(shape) <= len(other) and all(one in (1, size) for one, size in pairs)


def _relu_of(input: Tensor) -> Parsed:
    # The mask's type may widen that of the result, which the rectifier alone would not.
    return Parsed((input,), {"upper": None, "of_two": True}, instead=(torch.relu, (input,)))


def _relu_in_place(input: Tensor) -> Parsed:
    arguments = {"upper": None, "of_two": True}
    return Parsed((input,), arguments, inplace=True, instead=(torch.relu_, (input,)))
