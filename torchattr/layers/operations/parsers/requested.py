"""Operations that are recognised only where a rule table names them, by the function's name.

Products, attention, smooth gates and reductions keep PyTorch's own gradient in most methods, which
therefore do not pay for looking at them. The name without underscores covers the method, the
in-place method, the operator and the aten function.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from math import inf
from typing import Any

from torch import Tensor

from torchattr.layers.operations.names import base_name
from torchattr.layers.operations.parsers.table import (
    CallPattern,
    Parsed,
    ParsedCall,
    Parser,
    parse_by,
    writes_in_place,
)

_PATTERNS: dict[str, list[tuple[str, Parser]]] = {}


def parse_requested(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], requested: Container[str]
) -> ParsedCall | None:
    """Parse a function call as one of the requested operations.

    Returns:
        the call and its inputs, or `None` if it is none of them.
    """
    for operation, parse in _PATTERNS.get(base_name(function), ()):
        if operation in requested:
            found = _parse(operation, parse, function, args, kwargs)
            if found is not None:
                return found
    return None


def _parse(
    operation: str, parse: Parser, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> ParsedCall | None:
    if "out" in kwargs:  # Some functions hand on their default, which asks for nothing.
        if kwargs["out"] is not None:
            return None
        kwargs = {name: value for name, value in kwargs.items() if name != "out"}
    pattern = CallPattern(operation, parse, writes_in_place(function), masked=False)
    return parse_by(pattern, function, args, kwargs)


def _named(operation: str, names: str) -> Callable[[Parser], Parser]:
    """Register the decorated parser for the functions with one of these names."""

    def register(parser: Parser) -> Parser:
        for name in names.split():
            _PATTERNS.setdefault(name, []).append((operation, parser))
        return parser

    return register


def _one(input: Any, *args: Any, **kwargs: Any) -> Parsed:
    return Parsed((input,))


_named("sigmoid", "sigmoid expit special_expit")(_one)
_named("tanh", "tanh")(_one)
_named(
    "elementwise",
    "hardsigmoid logsigmoid log_sigmoid softsign tanhshrink hardshrink softshrink hardtanh clamp"
    " clip clamp_min clamp_max threshold abs absolute exp expm1 exp2 log log2 log10 log1p sqrt"
    " square sin cos tan sinh cosh arcsin asin arccos acos arctan atan arcsinh"
    " asinh logit special_logit erfinv special_erfinv erf special_erf erfc special_erfc sinc",
)(_one)
_named("mean", "mean")(_one)
_named("sum", "sum")(_one)
_named("interpolate", "interpolate upsample upsample_nearest upsample_bilinear")(_one)


@_named("softmax", "softmax special_softmax")
def _softmax(input: Any, dim: Any = None, *rest: Any, **kwargs: Any) -> Parsed:
    return Parsed((input,), {"dim": dim})


_named("reciprocal", "reciprocal rsqrt")(_one)


def _is_negative(exponent: Any) -> bool:
    return isinstance(exponent, (int, float)) and exponent < 0


@_named("reciprocal", "pow ipow float_power")
def _inverse_power(input: Any, exponent: Any) -> Parsed | None:
    return Parsed((input,)) if _is_negative(exponent) else None


@_named("elementwise", "pow ipow float_power")
def _power(input: Any, exponent: Any) -> Parsed | None:
    if not isinstance(exponent, Tensor):
        return None if _is_negative(exponent) else Parsed((input,))
    if isinstance(input, Tensor):  # Which of the two depends on the inputs, the engine knows.
        return Parsed((input,), {"exponent": exponent})
    return Parsed((exponent,))


@_named("elementwise", "rpow")
def _exponential(input: Tensor, base: Any) -> Parsed | None:
    return None if isinstance(base, Tensor) else Parsed((input,))


@_named("reciprocal", "rtruediv rdiv")
def _reciprocal(input: Tensor, dividend: Any) -> Parsed | None:
    return None if isinstance(dividend, Tensor) else Parsed((input,))


@_named("mul", "mul multiply imul rmul")
def _product(input: Any, other: Any) -> Parsed | None:
    return _two(input, other)


@_named("div", "div divide true_divide truediv itruediv")
def _quotient(input: Any, other: Any, *, rounding_mode: Any = None) -> Parsed | None:
    return _two(input, other) if rounding_mode is None else None


@_named(
    "matmul",
    "matmul rmatmul imatmul bmm mm mv dot vdot inner outer ger kron tensordot cross linalg_cross",
)
def _matrix_product(*args: Any, **kwargs: Any) -> Parsed | None:
    factors = _in_order(args, kwargs)[:2]
    return _two(*factors) if len(factors) == 2 else None


def _in_order(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Return arguments in the order of a signature whose names end in numbers, or are in order."""
    names = sorted(kwargs, key=lambda name: (name not in ("input", "self"), name))
    return [*args, *(kwargs[name] for name in names)]


def _two(input: Any, other: Any) -> Parsed | None:
    """Two tensors; a product with a number is linear and needs no rule."""
    if isinstance(input, Tensor) and isinstance(other, Tensor):
        return Parsed((input, other))
    return None


@_named("matmul", "einsum")
def _einsum(equation: Any, *operands: Any) -> Parsed | None:
    given = operands[0] if len(operands) == 1 and not isinstance(operands[0], Tensor) else operands
    return Parsed(tuple(given)) if isinstance(equation, str) and len(given) == 2 else None


@_named("matmul", "baddbmm addmm addbmm addmv addr")
def _added_product(*args: Any, beta: Any = 1, alpha: Any = 1, **kwargs: Any) -> Parsed | None:
    """A summand and a product."""
    inputs = tuple(_in_order(args, kwargs))
    return Parsed(inputs, {"factors": (1, 2)}) if len(inputs) == 3 else None


@_named(
    "matmul",
    "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution",
)
def _dependent_weight(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Parsed:
    """A convolution or linear layer whose weights depend on the input: no other rule serves."""
    if bias is None:
        return Parsed((input, weight))
    return Parsed((input, weight, bias))


@_named("normalize", "normalize")
def _normalize(
    input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None
) -> Parsed:
    return Parsed((input,), {"p": p, "dim": dim, "eps": eps})


@_named("vector_norm", "norm vector_norm linalg_vector_norm")
def _vector_norm(
    input: Any,
    ord: Any = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    p: Any = None,
    **kwargs: Any,
) -> Parsed | None:
    order = 2 if "fro" in (ord, p) or (ord, p) == (None, None) else ord if p is None else p
    if not isinstance(order, (int, float)) or not 0 < order < inf or kwargs.get("dtype"):
        return None
    return Parsed((input,), {"p": order, "dim": dim, "keepdim": keepdim})


@_named("logsumexp", "logsumexp special_logsumexp")
def _log_sum(input: Any, dim: Any, keepdim: bool = False) -> Parsed:
    return Parsed((input,), {"dim": dim, "keepdim": keepdim})


@_named("amax", "amax")
def _amax(input: Any, dim: Any = (), keepdim: bool = False) -> Parsed:
    return Parsed((input,), {"dim": dim, "keepdim": keepdim})


@_named("attention", "scaled_dot_product_attention")
def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Parsed:
    inputs: tuple[Tensor, ...] = (query, key, value)
    if attn_mask is not None and attn_mask.requires_grad:  # A summand, such as a computed bias.
        inputs, attn_mask = (*inputs, attn_mask), None
    arguments = {"attn_mask": attn_mask, "is_causal": is_causal, "scale": scale}
    return Parsed(inputs, {**arguments, "enable_gqa": enable_gqa})


@_named("rms_norm", "rms_norm")
def _rms_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Parsed:
    shape = tuple(normalized_shape)
    return Parsed((input,), {"normalized_shape": shape, "weight": weight, "eps": eps})
