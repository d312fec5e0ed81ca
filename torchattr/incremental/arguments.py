"""Walk through the arguments of a call, with references in place of tensors.

By hand: this runs several times for every call of the model, where the general functions of
`core.pytree` would cost as much as a small call itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ref:
    """A reference on the tape to a value that depends on the inputs."""

    value: int


ATOMS = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device})
"""Types of arguments that hold nothing else; most arguments of a call are such."""


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return nested tuples, lists and dicts with each tensor replaced."""
    if type(value) in ATOMS:
        return value
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        if type(value) is tuple and ATOMS.issuperset(map(type, value)):
            return value
        items = [map_tensors(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else _like(value, items)
    if isinstance(value, dict):
        items = [map_tensors(item, change) for item in value.values()]
        changed = any(new is not old for new, old in zip(items, value.values(), strict=True))
        return _dict_like(value, dict(zip(value, items, strict=True))) if changed else value
    return value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def _like(value: Any, items: list[Any]) -> Any:
    try:
        return type(value)(items)
    except TypeError:
        return tuple(items)


def _dict_like(value: dict[Any, Any], items: dict[Any, Any]) -> Any:
    """Return a dict of the same type, if possible, with other entries."""
    if type(value) is dict:
        return items
    try:
        return type(value)(**items)
    except TypeError:
        return items


def refs(value: Any) -> Iterator[int]:
    """Yield the values referenced in nested tuples, lists and dicts, in order."""
    if type(value) in ATOMS:
        return
    if isinstance(value, Ref):
        yield value.value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from refs(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from refs(item)


def fill(value: Any, give: Callable[[int], Any]) -> Any:
    """Replace every reference in nested tuples, lists and dicts."""
    if type(value) in ATOMS:
        return value
    if isinstance(value, Ref):
        return give(value.value)
    if isinstance(value, (tuple, list)):
        items = [fill(item, give) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else _like(value, items)
    if type(value) is dict:
        return {name: fill(item, give) for name, item in value.items()}
    return value
