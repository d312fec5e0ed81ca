"""The table of call patterns: which functions may mean an operation, and the parser of each.

A parser has the signature of the functions it serves. It returns the differentiable inputs and the
operation's own arguments, or `None` if this call is not that operation (a `clamp` to other bounds,
say).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from torchattr.core.pytree import with_tensors
from torchattr.core.torch_private import DisableTorchFunction, OpOverload, OpOverloadPacket
from torchattr.layers.operations.operation import OPERATIONS, Call

if TYPE_CHECKING:
    from torchattr.layers.operations.parsers.masks import MaskOrigins

aten = torch.ops.aten


class Parsed(NamedTuple):
    """Result of a parser: inputs, arguments, and what to run instead of the call, if anything."""

    inputs: tuple[Tensor, ...]
    arguments: Mapping[str, Any] = {}
    inplace: bool = False
    instead: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
    drop_extras: bool = False


Parser = Callable[..., Any]

ParsedCall: TypeAlias = tuple[Call, tuple[Tensor, ...]]
"""A call of an operation, and its differentiable inputs."""


@dataclass(frozen=True)
class CallPattern:
    """A function whose calls are `operation` if `parse` says so."""

    operation: str
    parse: Parser
    inplace: bool
    masked: bool


CALL_PATTERNS: dict[Any, CallPattern] = {}


def call_pattern(
    operation: str, *functions: Any, masked: bool = False
) -> Callable[[Parser], Parser]:
    """Register the decorated parser for functions; an aten packet stands for all its overloads.

    A file that is executed again replaces its own parsers.

    Args:
        operation: the operation's name in `OPERATIONS`.
        functions: the functions whose calls may be this operation.
        masked: whether the parser takes the origins of the forward's masks as its first argument.

    Raises:
        ValueError: a function has another parser already.
    """

    def register(parser: Parser) -> Parser:
        for function in functions:
            for callee in (function, *_overloads(function)):
                known = CALL_PATTERNS.get(callee)
                if known is not None and not _is_again(known.parse, parser):
                    raise ValueError(f"{callee} has a parser already")
                inplace = writes_in_place(callee)
                CALL_PATTERNS[callee] = CallPattern(operation, parser, inplace, masked)
        return parser

    return register


def _is_again(known: Parser, parser: Parser) -> bool:
    """Whether a parser replaces its former self, because its file or cell was executed again."""
    origins = [(p.__module__, p.__qualname__, _file_of(p)) for p in (known, parser)]
    return known is not parser and origins[0] == origins[1]


def _file_of(parser: Parser) -> str | None:
    """Return the file of a parser; cells of a notebook count as one."""
    return None if parser.__module__ == "__main__" else inspect.getfile(parser)


def parse_call(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], masks: MaskOrigins | None = None
) -> ParsedCall | None:
    """Parse a function call as an operation.

    Args:
        function: the function.
        args: its positional arguments.
        kwargs: its keyword arguments.
        masks: the origins of the forward's masks; without them, a product with a mask is no ReLU.

    Returns:
        the call and its inputs, or `None` if it is not an operation of the table.
    """
    pattern = CALL_PATTERNS.get(function)
    if pattern is None or "out" in kwargs or (pattern.masked and masks is None):
        return None
    return parse_by(pattern, function, args, kwargs, masks)


def parse_by(
    pattern: CallPattern,
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    masks: MaskOrigins | None = None,
) -> ParsedCall | None:
    """Parse a function call by one pattern; as for :func:`parse_call`."""
    masked = pattern.masked
    parsed = pattern.parse(masks, *args, **kwargs) if masked else pattern.parse(*args, **kwargs)
    if parsed is None:
        return None
    inputs, arguments, inplace, instead, drop_extras = parsed
    for tensor in inputs:
        if not isinstance(tensor, Tensor):
            return None
    if len(inputs) > 1 and len(set(map(id, inputs))) < len(inputs):
        again = _parse_occurrences(pattern, function, args, kwargs, masks)
        if again is not None:
            return again, inputs
    run, run_args, run_kwargs = (function, args, kwargs) if instead is None else (*instead, {})
    operation, inplace = OPERATIONS[pattern.operation], pattern.inplace or inplace
    call = Call(operation, run, run_args, run_kwargs, inputs, inplace, arguments, function)
    if drop_extras:
        call.drop_extras = True
    if masked:
        call.is_masked = True
    return call, inputs


def _parse_occurrences(
    pattern: CallPattern,
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    masks: MaskOrigins | None,
) -> Call | None:
    """Parse a call that has the same tensor in several places, each of which is an input.

    Which input stands in which place is known by identity only, so each place has an alias.
    """
    own_args, own_kwargs = with_tensors((list(args), dict(kwargs)), _alias)
    found = parse_by(pattern, function, own_args, own_kwargs, masks)
    return None if found is None else found[0]


def _alias(tensor: Tensor) -> Tensor:
    with DisableTorchFunction():
        return tensor.view_as(tensor)


def _overloads(function: Any) -> list[Any]:
    if not isinstance(function, OpOverloadPacket):
        return []
    return [getattr(function, name) for name in function.overloads() if "out" not in name]


@cache
def writes_in_place(function: Any) -> bool:
    """Whether a function writes to its first argument, by its schema or else by its name."""
    if isinstance(function, OpOverload):
        first = function._schema.arguments[:1]
        return any(x.alias_info is not None and x.alias_info.is_write for x in first)
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


def per_dimension(value: Any, dims: int) -> tuple[int, ...]:
    """Return one int for each of `dims` dimensions."""
    if isinstance(value, tuple) and len(value) == dims:
        return value
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * dims if len(values) == 1 else values
