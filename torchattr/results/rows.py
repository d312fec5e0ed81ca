"""Drop results of an explanation that do not have one row per example."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from torchattr.errors import Message, ShapeError
from torchattr.results.explained import Explained

_E = TypeVar("_E", bound=Explained)


def with_rows(explanation: _E) -> _E:
    """Return the explanation with only the methods whose results have one row per example.

    The others move to `refused`, with the reason: it is not known which example a row belongs to,
    for instance if a layer treats each frame or patch as a batch item.

    Raises:
        ShapeError: the scores or the targets do not have one row per example.
    """
    count = explanation.inputs.batch_size
    for name, value in (("scores", explanation.scores), ("targets", explanation.targets)):
        if value is not None and not _has_rows(value, count):
            raise ShapeError(
                f"{name} has the shape {tuple(value.shape)} for {count} examples, so it is not"
                " known which row belongs to which example; choose an output that has one row for"
                " each"
            )
    whole = {
        name: value for name, value in explanation.attributions.items() if _has_rows(value, count)
    }
    others = {
        name: _reason(value, count)
        for name, value in explanation.attributions.items()
        if name not in whole
    }
    if not others:
        return explanation
    return replace(explanation, attributions=whole, refused={**explanation.refused, **others})


def _tensors(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for one in value for tensor in _tensors(one)]
    return [value]


def _has_rows(value: Any, count: int) -> bool:
    return all(one.dim() > 0 and len(one) == count for one in _tensors(value))


def _reason(value: Any, count: int) -> Message:
    wrong = next(one for one in _tensors(value) if not _has_rows(one, count))
    rows = len(wrong) if wrong.dim() else "no"
    return Message(
        f"its result has {rows} rows for {count} examples, so it is not known which row belongs to"
        " which example; choose a layer whose output has one row for each example"
    )
