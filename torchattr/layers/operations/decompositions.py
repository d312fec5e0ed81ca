"""Functions that are made of operations: what they compute, said in operations that have rules.

The parts give the graph that a backward follows; the values stay those of the function itself, from
which they differ by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import partial
from math import inf, prod
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.layers.operations.names import base_name
from torchattr.layers.operations.recurrent import gru_cell, lstm_cell, rnn_cell, unrolled

Parts: TypeAlias = Callable[..., Any]
"""Computes the results of a function by operations. `None` in place of a result keeps the
function's own, which has no gradient; instead of all, it says that such a call has no parts."""

_PARTS: dict[str, tuple[frozenset[str], Parts]] = {}


def parts_of(function: Any, requested: Container[str]) -> Parts | None:
    """Return what a function is made of, if that has operations that rules are requested for."""
    needed, parts = _PARTS.get(base_name(function), (None, None))
    if needed is None or (needed and not any(name in requested for name in needed)):
        return None
    return parts


def _made_of(operations: str, names: str) -> Callable[[Parts], Parts]:
    """Register the decorated function for functions by their names.

    Args:
        operations: of which at least one must have rules; none if it is always done.
        names: the names.
    """

    def register(parts: Parts) -> Parts:
        _PARTS.update(dict.fromkeys(names.split(), (frozenset(operations.split()), parts)))
        return parts

    return register


# Products and quotients with a summand.


@_made_of("mul", "addcmul")
def _addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    return input + tensor1 * tensor2 * value


@_made_of("div", "addcdiv")
def _addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    return input + tensor1 / tensor2 * value


@_made_of("mul", "lerp")
def _lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    return input + (end - input) * weight


@_made_of("mul", "glu")
def _glu(input: Tensor, dim: int = -1) -> Tensor:
    value, gate = input.chunk(2, dim)
    return value * gate.sigmoid()


@_made_of("mul", "bilinear")
def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    first = torch.einsum("...i,oij->...oj", input1, weight)
    product = (first * input2.unsqueeze(-2)).sum(-1)
    return product if bias is None else product + bias


@_made_of("mul", "xlogy special_xlogy")
def _xlogy(input: Any, other: Tensor) -> Tensor:
    found: Tensor = input * torch.as_tensor(other).log()
    return found


@_made_of("normalize", "cosine_similarity")
def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    both = (F.normalize(x, dim=dim, eps=eps) for x in torch.broadcast_tensors(x1, x2))
    first, second = both
    return (first * second).sum(dim)


@_made_of("elementwise", "pairwise_distance")
def _pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor | None:
    return (x1 - x2 + eps).norm(p, -1, keepdim) if 0 < p < inf else None


@_made_of("elementwise", "dist")
def _dist(input: Tensor, other: Tensor, p: float = 2.0) -> Tensor | None:
    return (input - other).norm(p) if 0 < p < inf else None


@_made_of("elementwise", "hypot")
def _hypot(input: Tensor, other: Tensor) -> Tensor:
    return (input.square() + other.square()).sqrt()


@_made_of("elementwise", "atan2 arctan2")
def _atan2(input: Tensor, other: Tensor) -> Tensor | None:
    beside = torch.hypot(input, other) + other
    # By half of the angle, whose tangent is unbounded at the cut.
    return 2 * (input / beside).atan() if bool((beside > 1e-3 * other.abs()).all()) else None


@_made_of("elementwise", "pow ipow float_power")
def _power(input: Any, exponent: Tensor) -> Tensor | None:
    base = torch.as_tensor(input)
    return (base.log() * exponent).exp() if bool((base > 0).all()) else None


@_made_of("mul", "renorm")
def _renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor | None:
    others = [place for place in range(input.dim()) if place != dim % input.dim()]
    if not 0 < p < inf:
        return None
    size = torch.linalg.vector_norm(input, p, others, keepdim=True)
    # As PyTorch divides, so that no slice is as large as the bound.
    return input * (maxnorm / (size + 1e-7).clamp(min=maxnorm))


# Products of many factors.


@_made_of("mul", "prod")
def _prod(input: Tensor, dim: int | None = None, keepdim: bool = False, **named: Any) -> Tensor:
    rows = input.flatten() if dim is None else input
    place = dim or 0
    while (size := rows.shape[place]) > 1:
        first, second, rest = rows.split([size // 2, size // 2, size % 2], place)
        rows = torch.cat([first * second, rest], place) if size % 2 else first * second
    return rows if keepdim and dim is not None else rows.squeeze(place)


@_made_of("mul", "cumprod")
def _cumprod(input: Tensor, dim: int, **named: Any) -> Tensor:
    step, size = 1, input.shape[dim]
    while step < size:
        later = input.narrow(dim, step, size - step) * input.narrow(dim, 0, size - step)
        input = torch.cat([input.narrow(dim, 0, step), later], dim)
        step *= 2
    return input


@_made_of("matmul", "einsum")
def _einsum(equation: Any, *operands: Any) -> Tensor | None:
    """More than two factors, from the first one on."""
    given = list(operands[0] if isinstance(operands[0], (tuple, list)) else operands)
    if not isinstance(equation, str) or "." in equation or len(given) < 3:
        return None
    before, arrow, output = equation.replace(" ", "").partition("->")
    terms = before.split(",")
    if not arrow:
        output = "".join(sorted(c for c in set(before) - {","} if before.count(c) == 1))
    while len(terms) > 2:
        needed = set(output).union(*terms[2:])
        kept = "".join(dict.fromkeys(c for c in terms[0] + terms[1] if c in needed))
        given[:2] = [torch.einsum(f"{terms[0]},{terms[1]}->{kept}", *given[:2])]
        terms[:2] = [kept]
    return torch.einsum(f"{terms[0]},{terms[1]}->{output}", *given)


# Pools.


def _lp_pool(
    average: Callable[..., Tensor],
    dims: int,
    input: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    sizes = kernel_size if isinstance(kernel_size, (tuple, list)) else (kernel_size,) * dims
    mean = average(input.pow(norm_type), kernel_size, stride or kernel_size, 0, ceil_mode)
    return (mean * prod(sizes)).pow(1 / norm_type)


for _pool, _dimensions in ((F.avg_pool1d, 1), (F.avg_pool2d, 2), (F.avg_pool3d, 3)):
    _made_of("elementwise", f"lp_pool{_dimensions}d")(partial(_lp_pool, _pool, _dimensions))


# Logarithms of exponentials.


@_made_of("logsumexp", "log_softmax special_log_softmax")
def _log_softmax(input: Tensor, dim: Any = None, *rest: Any, **named: Any) -> Tensor | None:
    if not isinstance(dim, int):
        return None
    dtypes = [given for given in (*rest, *named.values()) if isinstance(given, torch.dtype)]
    wide = input.to(dtypes[0]) if dtypes else input
    return wide - wide.logsumexp(dim, keepdim=True)


@_made_of("logsumexp", "logaddexp")
def _logaddexp(input: Tensor, other: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(input, other)).logsumexp(0)


# Statistics.


@_made_of("elementwise", "var")
def _variance(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> Tensor:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    dims = _dims(input, dim)
    centred = input - input.mean(dims, keepdim=True)
    count = prod(input.shape[place] for place in dims)
    return centred.square().sum(dims, keepdim=keepdim) / max(count - correction, 0)


@_made_of("elementwise", "std")
def _deviation(*args: Any, **kwargs: Any) -> Tensor:
    return _variance(*args, **kwargs).sqrt()


@_made_of("elementwise", "var_mean")
def _variance_and_mean(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    return _variance(*args, **kwargs), _mean(*args, **kwargs)


@_made_of("elementwise", "std_mean")
def _deviation_and_mean(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    return _deviation(*args, **kwargs), _mean(*args, **kwargs)


def _mean(
    input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, **rest: Any
) -> Tensor:
    return input.mean(_dims(input, None if isinstance(dim, bool) else dim), keepdim=keepdim)


def _dims(input: Tensor, dim: Any) -> tuple[int, ...]:
    if dim is None or dim == ():
        return tuple(range(input.dim()))
    return tuple(dim) if isinstance(dim, (tuple, list)) else (int(dim),)


# Extremes, of which the largest over some dimensions has a rule for differences.


@_made_of("", "maximum fmax")
def _maximum(input: Tensor, other: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(input, other)).amax(0)


@_made_of("", "minimum fmin")
def _minimum(input: Tensor, other: Tensor) -> Tensor:
    return -_maximum(-input, -other)


@_made_of("", "amin")
def _amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    return -(-input).amax(dim, keepdim)


@_made_of("", "max")
def _max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    if isinstance(dim, Tensor) or other is not None:
        return _maximum(input, dim if other is None else other)
    return input.amax() if dim is None else (input.amax(dim, keepdim), None)


@_made_of("", "min")
def _min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    if isinstance(dim, Tensor) or other is not None:
        return _minimum(input, dim if other is None else other)
    return _amin(input) if dim is None else (_amin(input, dim, keepdim), None)


# Copies.


@_made_of("", "pad pad_circular")
def _pad(
    input: Tensor, pad: Sequence[int], mode: str = "circular", value: Any = None
) -> Tensor | None:
    """A pad whose graph, in PyTorch, is that of writing into a new tensor."""
    if mode != "circular":
        return None
    for place in range(len(pad) // 2):
        before, after = pad[2 * place : 2 * place + 2]
        first = max(-before, 0)  # A negative pad leaves elements out before the others are copied.
        size = input.shape[-1 - place] - first - max(-after, 0)
        kept = torch.arange(-max(before, 0), size + max(after, 0), device=input.device) % size
        input = input.index_select(-1 - place, first + kept)
    return input


# Recurrent layers.

_made_of("mul", "lstm")(unrolled(lstm_cell))
_made_of("mul", "gru")(unrolled(gru_cell))
_made_of("elementwise", "rnn_tanh")(unrolled(rnn_cell(torch.tanh)))
_made_of("elementwise", "rnn_relu")(unrolled(rnn_cell(torch.relu)))
