"""Targets that are functions of the output: what they have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from torchattr.errors import InputTypeError, TargetError

Entries = tuple[Tensor, ...]
"""What a target knows about each example: tensors with one row for each."""


@final
@dataclass(frozen=True, eq=False)
class FixedTarget:
    """A function of the output whose choices are made: it names the same for changed inputs.

    Attributes:
        function: returns one value per row, `(N,)`, from the output and the entries.
        entries: what it knows about each row.
    """

    function: Callable[..., Tensor]
    entries: Entries

    def __call__(self, output: Tensor) -> Tensor:
        entries = (_usable(entry.to(output.device)) for entry in self.entries)
        return self.function(output, *entries)

    def of_rows(self, rows: slice) -> FixedTarget:
        """Return the same target for some of the examples."""
        return self.with_entries(lambda entry: entry[rows])

    def with_entries(self, function: Callable[[Tensor], Tensor]) -> FixedTarget:
        """Return the same target for other rows, which a function makes of the entries."""
        return FixedTarget(self.function, tuple(map(function, self.entries)))


def _usable(entry: Tensor) -> Tensor:
    """Return a tensor that autograd may keep: one made in inference mode is copied."""
    return entry.clone() if entry.is_inference() else entry


class OutputTarget(ABC):
    """A target that is a function of the output: one value for each example.

    A subclass states what it knows about each example (`entries`), what the output of the
    unchanged inputs decides (`decide`; nothing by default), and the `value`.

    >>> import torch, torchattr as ta
    >>> ta.Difference(0, 2)(torch.tensor([[1.0, 5.0, 3.0]]))
    tensor([-2.])
    """

    title: ClassVar[str] = ""
    """Its name in messages; that of the class if it is empty."""

    @abstractmethod
    def entries(self, output: Tensor, count: int) -> Entries:
        """Return what is known about each of `count` examples, as tensors with a row for each.

        Args:
            output: scores of at least one of the examples: their shape and device are read.
            count: number of examples.

        Raises:
            TargetError: the target does not fit the output or the number of examples.
        """

    def decide(self, output: Tensor, *entries: Tensor) -> Entries:
        """Return the entries with what the output of the unchanged inputs decides.

        Raises:
            TargetError: there is nothing to explain in that output.
        """
        return entries

    @abstractmethod
    def value(self, output: Tensor, *entries: Tensor) -> Tensor:
        """Return one value per example, `(N,)`, differentiable in the output."""

    @final
    def fixed(self, output: Tensor) -> FixedTarget:
        """Return this target with its choices made by the output of the unchanged inputs."""
        entries = self.entries(output, len(output))
        return FixedTarget(self.value, self.decide(output.detach(), *entries))

    @final
    def __call__(self, output: Tensor) -> Tensor:
        return self.fixed(output)(output)

    def __repr__(self) -> str:
        settings = {one.name: getattr(self, one.name) for one in fields(self) if one.repr}  # type: ignore[arg-type]  # subclasses are dataclasses
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in settings.items())
        return f"{self.title or type(self).__name__}({shown})"


def _shown(value: Any) -> str:
    """Return a field for `repr`: tensors by their shape."""
    if isinstance(value, (Tensor, np.ndarray)):
        return f"<{type(value).__name__} {tuple(value.shape)}>"
    if isinstance(value, (list, tuple)) and any(isinstance(one, Tensor) for one in value):
        return f"<{len(value)} tensors>"
    return getattr(value, "__name__", repr(value))


def class_rows(category: Any, output: Tensor, count: int, what: str) -> Tensor:
    """Return a class for each example, `(count,)`.

    Args:
        category: a class for all examples, or one for each in a list, array or tensor.
        output: the scores, with the classes in dimension 1.
        count: number of examples.
        what: the argument's name in messages.

    Raises:
        InputTypeError: neither an int nor integers.
        TargetError: classes out of range, or a wrong number of them.
    """
    classes = as_classes(category, what)
    if classes.dim() and len(classes) != count:
        raise TargetError(
            f"{what} has {len(classes)} entries for a batch of {count}; pass one for each example,"
            " or a single int for all of them"
        )
    check_classes(classes, output, what)
    return classes.to(output.device).expand(count)


def check_classes(classes: Tensor, output: Tensor, what: str) -> None:
    """Check class indices against an output with the classes in dimension 1.

    Raises:
        TargetError: the output has no classes, or an index is out of range.
    """
    if output.dim() < 2:
        raise TargetError(
            f"{what} names a class, but the output has shape {tuple(output.shape)}; needed is"
            " (N, classes, ...)"
        )
    size = output.shape[1]
    for index in classes.reshape(-1).tolist():
        if not 0 <= index < size:
            raise TargetError(out_of_range(f"{what} {index}", index, size, output))


def out_of_range(what: str, index: int, size: int, output: Tensor) -> str:
    """Return the message that an index into the output is out of range."""
    said = f"{what} is out of range for an output of shape {tuple(output.shape)}; allowed are 0 to"
    if index >= 0 or index < -size:
        return f"{said} {size - 1}"
    return f"{said} {size - 1}; the class that {index} counts to from the end is {size + index}"


def as_classes(category: Any, what: str) -> Tensor:
    """Return class indices as a tensor `()` for all examples, or `(N,)`.

    Raises:
        InputTypeError: anything but integers.
        TargetError: more than one dimension.
    """
    if _is_series(category) and not len(category):
        return torch.zeros(0, dtype=torch.long)
    try:
        classes = torch.as_tensor(np.asarray(category) if _is_series(category) else category)
    except (TypeError, ValueError, RuntimeError):
        classes = torch.empty(0)
    kind = classes.dtype
    if kind == torch.bool or kind.is_floating_point or kind.is_complex:
        raise InputTypeError(
            f"{what} must be a class index, or one for each example, got"
            f" {category if isinstance(category, (str, float, bool)) else type(category).__name__}"
        )
    if classes.dim() > 1:
        raise TargetError(
            f"{what} must be one class index or one for each example, got shape"
            f" {tuple(classes.shape)}"
        )
    return classes.detach().long()


def _is_series(category: Any) -> bool:
    return isinstance(category, Sequence) and not isinstance(category, str)


def need_scores(output: Tensor, what: str) -> None:
    """Check that an output holds one score per class.

    Raises:
        TargetError: it has other dimensions.
    """
    if output.dim() != 2:
        raise TargetError(
            f"{what} needs scores of shape (N, classes), but the output has shape"
            f" {tuple(output.shape)}; choose them with output=..."
        )


def picked(output: Tensor, classes: Tensor) -> Tensor:
    """Return the entry of each example's class, `(N, ...)`."""
    return output[torch.arange(len(output), device=output.device), classes]


def listed(examples: Tensor) -> str:
    """Return where a mask `(N,)` is true, for messages."""
    numbers = examples.nonzero().flatten().tolist()
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    plural = "s" if len(numbers) > 1 else ""
    return f"example{plural} {', '.join(map(str, numbers[:8]))}{more}"
