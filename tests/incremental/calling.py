"""Every function of torch that can be overridden, and arguments that it may take."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import get_overridable_functions, get_testing_overrides, resolve_name

ELSEWHERE = (
    "cuda",
    "xpu",
    "mps",
    "ipu",
    "hpu",
    "storage",
    "share_memory",
    "pin_memory",
    "dlpack",
    "lobpcg",
)
"""Parts of the names of functions that leave the process or its memory."""


def functions() -> list[Callable[..., Any]]:
    """Return these functions in the order of their names."""
    found = {one for group in get_overridable_functions().values() for one in group}
    return sorted(found, key=name_of)


def name_of(function: Callable[..., Any]) -> str:
    return resolve_name(function) or str(function)


def is_local(function: Callable[..., Any]) -> bool:
    return not any(word in name_of(function) for word in ELSEWHERE)


def arguments(function: Callable[..., Any]) -> Iterator[Callable[[Tensor], tuple[Any, ...]]]:
    """Yield functions from an image to positional arguments, some of which may be invalid."""
    dummy = get_testing_overrides().get(function)
    needed = 1 if dummy is None else _needed(dummy)
    rests: list[list[Any]] = [
        [2.0] * (needed - 1),
        [1] * (needed - 1),
        [True] * (needed - 1),
        [(2, 2)] * (needed - 1),
        [[1]] * (needed - 1),
        [torch.float64] * (needed - 1),
    ]
    yield lambda x: (x,) * needed
    for rest in rests if needed > 1 else []:
        yield lambda x, rest=rest: (x, *rest)
    yield lambda x: ([x] * 2, *[1] * (needed - 1))
    yield lambda x: (x, x + 1)
    yield lambda x: (x, 2)
    yield lambda x: (2, x)


def _needed(dummy: Callable[..., Any]) -> int:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(dummy).parameters.values()
    return max(
        sum(one.kind in kinds and one.default is inspect.Parameter.empty for one in parameters), 1
    )


def outcome(call: Callable[[], Any]) -> Any:
    """Return the result of a call, or the class of the error that it raises."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - wrong arguments are tried, too
            return type(error)
