"""Every spelling of each operation: module, functional, method and aten calls, as one table.

A parser has the signature of the spellings it serves. It returns the differentiable inputs and the
operation's own arguments, or `None` when this call is not that operation (a `clamp` to other
bounds, say).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from torchattr.core.torch_private import OpOverload, OpOverloadPacket
from torchattr.layers.operations.operation import OPERATIONS, Call

if TYPE_CHECKING:
    from torchattr.layers.operations.parsers.masks import MaskOrigins

aten = torch.ops.aten


class Parsed(NamedTuple):
    """What a parser found: the inputs, the arguments, and what to run if not the call itself."""

    inputs: tuple[Tensor, ...]
    arguments: Mapping[str, Any] = {}
    inplace: bool = False
    instead: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
    drop_extras: bool = False


Parser = Callable[..., Any]


@dataclass(frozen=True)
class CallPattern:
    """One callable that means `operation` when its parser says so."""

    operation: str
    parse: Parser
    inplace: bool
    masked: bool


CALL_PATTERNS: dict[Any, CallPattern] = {}


def spelling(operation: str, *functions: Any, masked: bool = False) -> Callable[[Parser], Parser]:
    """Register the decorated parser for these callables; aten packets bring their overloads.

    A `masked` one takes the memory of the forward's masks before the arguments of the call.
    """

    def register(parser: Parser) -> Parser:
        for function in functions:
            for one in (function, *_overloads(function)):
                if one in CALL_PATTERNS:
                    raise ValueError(f"{one} is spelled twice")
                CALL_PATTERNS[one] = CallPattern(operation, parser, writes_in_place(one), masked)
        return parser

    return register


def parse_call(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], masks: MaskOrigins | None = None
) -> tuple[Call, tuple[Tensor, ...]] | None:
    """Return the call that this is and its inputs, and `None` if it is no operation of the table.

    Without a memory of the forward's `masks`, a product with one is arithmetic.
    """
    found = CALL_PATTERNS.get(function)
    if found is None or "out" in kwargs or (found.masked and masks is None):
        return None
    parsed = found.parse(*((masks,) if found.masked else ()), *args, **kwargs)
    if parsed is None or not all(isinstance(tensor, Tensor) for tensor in parsed.inputs):
        return None
    run, run_args = parsed.instead or (function, tuple(args))
    call = Call(
        OPERATIONS[found.operation],
        run,
        run_args,
        {} if parsed.instead else kwargs,
        parsed.inputs,
        found.inplace or parsed.inplace,
        {"drop_extras": parsed.drop_extras, **parsed.arguments},
        function,
    )
    call.is_masked = found.masked
    return call, parsed.inputs


def _overloads(function: Any) -> list[Any]:
    if not isinstance(function, OpOverloadPacket):
        return []
    return [getattr(function, name) for name in function.overloads() if "out" not in name]


@cache
def writes_in_place(function: Any) -> bool:
    """Whether a function writes over its first argument, as its schema or else its name says."""
    if isinstance(function, OpOverload):
        first = function._schema.arguments[:1]
        return any(one.alias_info is not None and one.alias_info.is_write for one in first)
    name = _name(function)
    return name in _WRITING or (name.endswith("_") and not name.endswith("__"))


_OPERATORS = (
    *("add", "sub", "mul", "matmul", "div", "truediv", "floordiv", "mod", "pow"),
    *("and", "or", "xor", "lshift", "rshift"),
)
_WRITING = frozenset(
    (
        "__setitem__",
        "__set__",
        "__setstate__",
        "module_load",
        *(f"__i{name}__" for name in _OPERATORS),
    )
)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", ""))


def each(value: Any, dims: int) -> tuple[int, ...]:
    """Give one int for each of so many dimensions."""
    if isinstance(value, tuple) and len(value) == dims:
        return value
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * dims if len(values) == 1 else values
