"""Rectifiers, and the activations that are rewritten only on request."""

from __future__ import annotations

from math import inf
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.torch_private import aten_nn
from torchattr.layers.operations.parsers.masks import is_zero
from torchattr.layers.operations.parsers.table import Parsed, aten, call_pattern


@call_pattern(
    "relu",
    *(F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, aten.relu, aten.relu_),
)
def _relu(input: Tensor, inplace: bool = False) -> Parsed:
    return _rectifier(input, inplace=inplace)


@call_pattern("relu", F.relu6, aten.relu6, aten.relu6_)
def _relu6(input: Tensor, inplace: bool = False) -> Parsed:
    return _rectifier(input, 6.0, inplace)


@call_pattern("relu", F.hardtanh, F.hardtanh_, aten.hardtanh, aten.hardtanh_)
def _hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Parsed | None:
    return _rectifier(input, max_val, inplace) if min_val == 0 else None


@call_pattern(
    "relu",
    *(torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_, aten.clamp, aten.clamp_),
    *(torch.clip, torch.clip_, Tensor.clip, Tensor.clip_, aten.clip, aten.clip_),
)
def _clamp(input: Tensor, min: Any = None, max: Any = None) -> Parsed | None:
    if not is_zero(min) or not (max is None or isinstance(max, (int, float))):
        return None
    return _rectifier(input, max)


@call_pattern(
    "relu",
    *(torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_),
    *(aten.clamp_min, aten.clamp_min_),
)
def _clamp_min(input: Tensor, min: Any) -> Parsed | None:
    return _rectifier(input) if is_zero(min) else None


@call_pattern("relu", torch.maximum, Tensor.maximum, aten.maximum, aten.max.other)
def _maximum(input: Tensor, other: Tensor) -> Parsed | None:
    if is_zero(other) and other.dim() <= input.dim():
        return _of_two(input)
    return _of_two(other) if is_zero(input) and input.dim() <= other.dim() else None


@call_pattern("relu", torch.max, Tensor.max)
def _max(input: Tensor, *args: Any, **kwargs: Any) -> Parsed | None:
    other = kwargs.get("other", args[0] if args else None)
    return _maximum(input, other) if isinstance(other, Tensor) else None


@call_pattern(
    "relu",
    *(F.threshold, torch.threshold, torch.threshold_),
    *(aten.threshold, aten.threshold_),
)
def _threshold(
    input: Tensor, threshold: float, value: float, inplace: bool = False
) -> Parsed | None:
    return _rectifier(input, inplace=inplace) if threshold == 0 == value else None


def _rectifier(input: Tensor, upper: float | None = None, inplace: bool = False) -> Parsed:
    bound = None if upper is None or upper == inf else float(upper)
    return Parsed((input,), {"upper": bound}, inplace)


def _of_two(input: Tensor) -> Parsed:
    """The zeros may change the type of the result, which the rectifier alone would not."""
    return Parsed((input,), {"upper": None, "of_two": True})


# Activations that are rewritten only on request.


@call_pattern("leaky_relu", F.leaky_relu, F.leaky_relu_, aten.leaky_relu, aten.leaky_relu_)
def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Parsed:
    return Parsed((input,), {"negative_slope": negative_slope}, inplace)


@call_pattern("prelu", F.prelu, Tensor.prelu, aten.prelu)
def _prelu(input: Tensor, weight: Tensor) -> Parsed:
    return Parsed((input,), {"weight": weight})


@call_pattern("rrelu", F.rrelu, torch.rrelu, torch.rrelu_, aten.rrelu, aten.rrelu_)
def _rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Parsed:
    return Parsed((input,), {"training": training}, inplace)


@call_pattern("elu", F.elu, F.elu_, aten.elu, aten.elu_)
def _elu(input: Tensor, alpha: float = 1.0, *rest: Any, inplace: bool = False) -> Parsed:
    return Parsed((input,), {"alpha": alpha}, inplace or rest[:1] == (True,))


@call_pattern("celu", F.celu, torch.celu, torch.celu_, aten.celu, aten.celu_)
def _celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Parsed:
    return Parsed((input,), {"alpha": alpha}, inplace)


def _smooth(input: Tensor, inplace: bool = False) -> Parsed:
    return Parsed((input,), {}, inplace)


call_pattern("selu", F.selu, torch.selu, torch.selu_, aten.selu, aten.selu_)(_smooth)
call_pattern("silu", F.silu, aten_nn.silu, aten.silu, aten.silu_)(_smooth)
call_pattern("mish", F.mish, aten_nn.mish, aten.mish, aten.mish_)(_smooth)
call_pattern("hardswish", F.hardswish, aten_nn.hardswish, aten.hardswish, aten.hardswish_)(_smooth)


@call_pattern("gelu", F.gelu, aten.gelu)
def _gelu(input: Tensor, approximate: str = "none") -> Parsed:
    return Parsed((input,), {"approximate": approximate})


@call_pattern("softplus", F.softplus, aten.softplus)
def _softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Parsed:
    return Parsed((input,), {"beta": beta})
