"""Targets as Captum takes them: a negative class counts from the end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from torchattr.core.output_target import Entries, OutputTarget, out_of_range
from torchattr.core.targets import plain
from torchattr.errors import TargetError


@dataclass(frozen=True, eq=False, repr=False)
class FromEnd(OutputTarget):
    """An entry of the output whose negative indices count from the end, as Captum has it.

    Attributes:
        indices: one index into the dimensions after the batch for all examples, or one for each.

    Raises:
        TargetError: (from a call) an index out of range, or a wrong number of them.
    """

    indices: Sequence[tuple[int, ...]]

    def entries(self, output: Tensor, count: int) -> Entries:
        sizes, depth = output.shape[1:], {len(index) for index in self.indices}
        if len(self.indices) not in (1, count) or depth != {len(sizes)}:
            raise TargetError(
                f"target {list(self.indices)} does not name one entry for each of {count} examples"
                f" of an output of shape {tuple(output.shape)}"
            )
        rows = torch.tensor([_from_start(index, output) for index in self.indices])
        return (rows.to(output.device).expand(count, -1),)

    def value(self, output: Tensor, *entries: Tensor) -> Tensor:
        examples = torch.arange(len(output), device=output.device)
        index = (examples, *entries[0].unbind(1))
        return output[index]


def _from_start(index: tuple[int, ...], output: Tensor) -> list[int]:
    for position, size in zip(index, output.shape[1:], strict=True):
        if not -size <= position < size:
            raise TargetError(out_of_range(f"target {position}", position, size, output))
    return [position % size for position, size in zip(index, output.shape[1:], strict=True)]


def captums_target(target: Any) -> Any:
    """Return a target as our methods take it: what is negative in Captum's forms is named anew.

    >>> captums_target(-1), captums_target(2)
    (FromEnd(indices=[(-1,)]), 2)
    """
    made = plain(target)
    if isinstance(made, Tensor) and made.numel() == 1 and not made.is_floating_point():
        made = made.item()
    rows: list[Any] = made if isinstance(made, list) else [made]
    indices: list[tuple[int, ...]] = [row if isinstance(row, tuple) else (row,) for row in rows]
    numbers = [one for index in indices for one in index]
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in numbers)
    return FromEnd(indices) if whole and any(one < 0 for one in numbers) else target


def take_captums_targets(cls: type, name: str) -> None:
    """Let a method of a class take Captum's targets, if it has an argument `target`."""
    function = _written(cls, name)
    if function is None or getattr(function, _MARK, False):
        return
    if getattr(function, "__isabstractmethod__", False):
        return
    if "target" in inspect.signature(function).parameters:
        taking = _with_captums_targets(function)
        setattr(taking, _INHERITED, name not in vars(cls))
        setattr(cls, name, taking)


_MARK = "_takes_captums_targets"
_INHERITED = "_was_inherited"


def _written(cls: type, name: str) -> Callable[..., Any] | None:
    """Return the method that a class would have if none had been replaced where it is inherited."""
    found = (vars(base).get(name) for base in cls.__mro__)
    return next((one for one in found if one and not getattr(one, _INHERITED, False)), None)


def _with_captums_targets(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python names the wrong arguments.
        if "target" in given.arguments:
            given.arguments["target"] = captums_target(given.arguments["target"])
        return function(*given.args, **given.kwargs)

    setattr(called, _MARK, True)
    return called
