"""Run the model again with precomputed results for its incremental calls."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchattr.core.torch_private import DisableTorchFunctionSubclass, make_wrapper_subclass
from torchattr.incremental.arguments import Ref, fill, map_tensors
from torchattr.incremental.function_sets import POINTWISE, RESHAPING, name_of
from torchattr.incremental.tape import ABOUT_SHAPE, Tape, TapeEntry


class Diverged(Exception):
    """The model did not repeat the calls of its clean forward; the message says where."""


class Placeholder(Tensor):
    """Stands for a value that is computed on changed pixels only: a shape, a dtype, a device.

    Attributes:
        value: the index of the value.
        overwritten: its new content, once a dense call wrote to it.
    """

    value: int
    overwritten: Tensor | None = None

    @staticmethod
    def __new__(cls, shape: Sequence[int], like: torch.dtype, device: torch.device) -> Any:
        return make_wrapper_subclass(cls, tuple(shape), dtype=like, device=device)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        with DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        raise Diverged(f"{func} was called where function modes cannot intercept it")


@dataclass(frozen=True)
class Answered:
    """The calls of a tape that a replay answers instead of running them.

    Attributes:
        tape: the tape.
        entries: the positions of the calls.
        values: the values for which the model gets placeholders: the inputs and the calls' results.
        repeats: whether any constant may be repeated with the batch, since no call is computed for
            copies that differ.
    """

    tape: Tape
    entries: Container[int]
    values: Container[int]
    repeats: bool = False


class Replay(TorchFunctionMode):
    """Returns placeholders from the calls that are computed incrementally, and runs all others.

    Args:
        answered: which calls are computed incrementally.
        copies: number of copies of the clean batch that the model runs on.
        device: their device.
        frontier: the values of the frontier as dense tensors.
        inputs: for each input, returns its copies.
    """

    def __init__(
        self,
        answered: Answered,
        copies: int,
        device: torch.device,
        frontier: Mapping[int, Tensor],
        inputs: Sequence[Callable[[], Tensor]],
    ) -> None:
        super().__init__()
        self._answered = answered
        self._copies = copies
        self._device = device
        self._frontier = frontier
        self._inputs = inputs
        self._copied: dict[int, Tensor] = {}
        self._awaited = [
            (position, entry)
            for position, entry in enumerate(answered.tape.entries)
            if any(index in answered.values for index in entry.inputs)
        ]
        self._next = 0

    def placeholder(self, index: int) -> Tensor:
        """Return a placeholder for a value."""
        value = self._answered.tape.values[index]
        shape = (value.shape[0] * self._copies, *value.shape[1:])
        made: Placeholder = Placeholder(shape, value.dtype, self._device)
        made.value = index
        return made

    def whole(self, output: Any) -> Any:
        """Return nested values with dense tensors in place of placeholders."""
        return map_tensors(output, self._whole)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in ABOUT_SHAPE:
            return func(*args, **kwargs)
        placeholders = _placeholders((args, kwargs))
        if not placeholders:
            return func(*self.whole(args), **self.whole(kwargs))
        position, entry = self._expected(func, placeholders)
        if position in self._answered.entries:
            self._check(entry, args, kwargs)
            return self._given(entry, placeholders)
        result = func(*self.whole(args), **self.whole(kwargs))
        if entry.same and placeholders[0].value == entry.inputs[0]:
            placeholders[0].overwritten = result
        return result

    def _expected(
        self, function: Any, placeholders: Sequence[Placeholder]
    ) -> tuple[int, TapeEntry]:
        """Return the next call of the tape.

        Raises:
            Diverged: the model made another call.
        """
        if self._next == len(self._awaited):
            raise Diverged("the model made more calls than in its clean forward")
        position, entry = self._awaited[self._next]
        self._next += 1
        followed = [index for index in entry.inputs if index in self._answered.values]
        given = [placeholder.value for placeholder in placeholders]
        if entry.function != function or followed != given:
            raise Diverged(
                f"the model called {name_of(function)} where it had called"
                f" {name_of(entry.function)}"
            )
        return position, entry

    def _check(self, entry: TapeEntry, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check that an incremental call gets the same constants as in the clean forward.

        Raises:
            Diverged: it does not; they may depend on the input.
        """
        repeats = self._answered.repeats
        numbers = self._copies if repeats or entry.function in RESHAPING else 1
        rows = self._copies if repeats or entry.function in POINTWISE else 1
        if not alike((entry.args, entry.kwargs), (args, kwargs), numbers, rows):
            name = getattr(entry.function, "__name__", entry.function)
            raise Diverged(
                f"the model called {name} with other arguments than in its clean forward"
            )

    def _given(self, entry: TapeEntry, placeholders: Sequence[Placeholder]) -> Any:
        """Return the result of an incremental call, which for an in-place call is its argument."""
        if not entry.same:
            return fill(entry.result, self.placeholder)
        placeholders[0].value = entry.outputs[0]
        return placeholders[0]

    def _whole(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Placeholder):
            return tensor
        if tensor.overwritten is not None:
            return tensor.overwritten
        if tensor.value < len(self._inputs):
            return self._input(tensor.value)
        try:
            return self._frontier[tensor.value]
        except KeyError:
            raise Diverged("the model read a value that its clean forward did not read") from None

    def _input(self, index: int) -> Tensor:
        """Return the copies of an input, always the same tensor: the model may write to it."""
        if index not in self._copied:
            self._copied[index] = self._inputs[index]()
        return self._copied[index]


def _placeholders(value: Any) -> list[Placeholder]:
    placeholders: list[Placeholder] = []

    def note(tensor: Tensor) -> Tensor:
        if isinstance(tensor, Placeholder) and tensor.overwritten is None:
            placeholders.append(tensor)
        return tensor

    map_tensors(value, note)
    return placeholders


def alike(recorded: Any, given: Any, numbers: int, rows: int) -> bool:
    """Whether the arguments of a call equal those on the tape, up to the batch size.

    Args:
        recorded: those on the tape.
        given: the current ones.
        numbers: the factor by which an integer may be larger, since it may be the batch size.
        rows: the factor by which a tensor may have more rows, since they may be copies.

    >>> alike((Ref(0), [2, -1], None), (Ref(0), [6, -1], None), numbers=3, rows=1)
    True
    >>> alike({"alpha": 2.0}, {"alpha": 6.0}, numbers=1, rows=3)
    False
    """
    if recorded is given or isinstance(recorded, Ref):
        return True
    if isinstance(recorded, Tensor):
        return isinstance(given, Tensor) and _equal(recorded, given, rows)
    if isinstance(recorded, slice):
        return isinstance(given, slice) and alike(_bounds(recorded), _bounds(given), numbers, rows)
    if isinstance(recorded, (tuple, list)):
        return len(recorded) == len(given) and all(
            alike(one, other, numbers, rows) for one, other in zip(recorded, given, strict=True)
        )
    if isinstance(recorded, dict):
        return recorded.keys() == given.keys() and alike(
            list(recorded.values()), list(given.values()), numbers, rows
        )
    if type(recorded) is int and type(given) is int:
        return given in (recorded, recorded * numbers)
    return bool(np.array_equal(recorded, given))


def _equal(recorded: Tensor, given: Tensor, rows: int) -> bool:
    if rows > 1 and recorded.dim() and given.shape == (rows * len(recorded), *recorded.shape[1:]):
        recorded = recorded.repeat(rows, *[1] * (recorded.dim() - 1))
    return torch.equal(recorded, given)


def _bounds(given: slice) -> tuple[Any, Any, Any]:
    return given.start, given.stop, given.step
