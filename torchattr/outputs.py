"""The one place that knows what a model may return: a tensor, or a container that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from torchattr._types import OutputKey
from torchattr.errors import OutputError


def select_output(output: Any, key: OutputKey = None) -> Tensor:
    """Take the tensor of scores out of whatever the model returned.

    Args:
        output: a tensor, mapping, sequence or dataclass.
        key: the entry to take (a name or position), or a callable that takes it. `None` serves
            a tensor, or a container that holds exactly one.

    Raises:
        OutputError: no such entry, several entries and no `key`, or an entry without tensor.
    """
    if callable(key):
        chosen = key(output)
    elif key is not None:
        chosen = _entry(output, key)
    else:
        chosen = _only_entry(output)
    if not isinstance(chosen, Tensor):
        raise OutputError(
            f"the model's output{'' if key is None else f' entry {key!r}'} is"
            f" {type(chosen).__name__}, not a tensor of scores; choose one with output=..."
            f" (found: {_described(output)})"
        )
    return chosen


def _entries(output: Any) -> dict[Any, Any]:
    if isinstance(output, Mapping):
        return dict(output)
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    if isinstance(output, (list, tuple)):
        return dict(enumerate(output))
    return {}


def _entry(output: Any, key: str | int) -> Any:
    entries = _entries(output)
    if isinstance(key, int) and key not in entries and -len(entries) <= key < len(entries):
        return list(entries.values())[key]
    if key not in entries:
        raise OutputError(
            f"output={key!r} names no entry of what the model returned ({_described(output)})"
        )
    return entries[key]


def _only_entry(output: Any) -> Any:
    if isinstance(output, Tensor) or not _entries(output):
        return output
    tensors = [value for value in _entries(output).values() if isinstance(value, Tensor)]
    if len(tensors) != 1:
        raise OutputError(
            f"the model returned {_described(output)}; say which entry holds the scores with"
            f" output=..., for example output={next(iter(_entries(output)))!r}"
        )
    return tensors[0]


def _described(output: Any) -> str:
    entries = _entries(output)
    if not entries:
        return type(output).__name__
    return f"{type(output).__name__} with entries {', '.join(map(repr, entries))}"
