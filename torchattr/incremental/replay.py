"""Running the model once more: what is known of its values is handed in, the rest is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchattr.core.torch_private import DisableTorchFunctionSubclass, make_wrapper_subclass
from torchattr.incremental.function_sets import POINTWISE, RESHAPING
from torchattr.incremental.schedule import Schedule
from torchattr.incremental.tape import ABOUT_SHAPE, Ref, TapeEntry, fill, map_tensors


class Diverged(Exception):
    """The model ran otherwise than in its clean forward; the message says where."""


class Placeholder(Tensor):
    """Stands for a value that is followed on changed pixels only: a shape, a type, a device.

    Attributes:
        value: which one.
        now: what it became when a call that is not followed wrote over it.
    """

    value: int
    now: Tensor | None = None

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
        raise Diverged(f"{func} was called out of sight")


class Replay(TorchFunctionMode):
    """Gives each call of the tape its result, if it is followed, and runs all others.

    Args:
        plan: what is followed.
        copies: how many copies of the clean batch the model is given.
        device: where they are.
        known: gives the frontier's values as whole tensors.
        inputs: give the copies of each input.
    """

    def __init__(
        self,
        plan: Schedule,
        copies: int,
        device: torch.device,
        known: Callable[[], Mapping[int, Tensor]],
        inputs: Sequence[Callable[[], Tensor]],
    ) -> None:
        super().__init__()
        self._plan = plan
        self._copies = copies
        self._device = device
        self._compute = known
        self._known: Mapping[int, Tensor] | None = None
        self._inputs = inputs
        self._copied: dict[int, Tensor] = {}
        tape = plan.lowered.tape
        self._awaited = [
            (position, entry)
            for position, entry in enumerate(tape.entries)
            if any(index in plan.grids for index in entry.inputs)
        ]
        self._next = 0

    def placeholder(self, index: int) -> Tensor:
        """Give what stands for a value."""
        value = self._plan.lowered.tape.values[index]
        shape = (value.shape[0] * self._copies, *value.shape[1:])
        made: Placeholder = Placeholder(shape, value.dtype, self._device)
        made.value = index
        return made

    def whole(self, output: Any) -> Any:
        """Give what the model gave with whole tensors in place of what stands for them."""
        return map_tensors(output, self._whole)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in ABOUT_SHAPE:
            return func(*args, **kwargs)
        standing = _standing((args, kwargs))
        if not standing:
            return func(*self.whole(args), **self.whole(kwargs))
        position, entry = self._expected(func, standing)
        if position in self._plan.followed:
            self._check(entry, args, kwargs)
            return self._given(entry, standing)
        result = func(*self.whole(args), **self.whole(kwargs))
        if entry.same and standing[0].value == entry.inputs[0]:
            standing[0].now = result
        return result

    def _expected(self, function: Any, standing: Sequence[Placeholder]) -> tuple[int, TapeEntry]:
        """Give the call of the tape that this must be.

        Raises:
            Diverged: it is not.
        """
        if self._next == len(self._awaited):
            raise Diverged("the model went on after its last call")
        position, entry = self._awaited[self._next]
        self._next += 1
        followed = [index for index in entry.inputs if index in self._plan.grids]
        if entry.function != function or followed != [one.value for one in standing]:
            raise Diverged(
                f"the model called {getattr(function, '__name__', function)} where it had called"
                f" {getattr(entry.function, '__name__', entry.function)}"
            )
        return position, entry

    def _check(self, entry: TapeEntry, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check that a call that is followed is given the constants that it was given before.

        Raises:
            Diverged: it is not; they may depend on what the model was given.
        """
        numbers = self._copies if entry.function in RESHAPING else 1
        rows = self._copies if entry.function in POINTWISE else 1
        if not alike((entry.args, entry.kwargs), (args, kwargs), numbers, rows):
            name = getattr(entry.function, "__name__", entry.function)
            raise Diverged(f"the model called {name} with other arguments than before")

    def _given(self, entry: TapeEntry, standing: Sequence[Placeholder]) -> Any:
        """Give the result of a call that is followed; where it is its argument, rename that."""
        if not entry.same:
            return fill(entry.result, self.placeholder)
        standing[0].value = entry.outputs[0]
        return standing[0]

    def _whole(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Placeholder):
            return tensor
        if tensor.now is not None:
            return tensor.now
        if tensor.value < len(self._inputs):
            return self._input(tensor.value)
        if self._known is None:
            self._known = self._compute()
        try:
            return self._known[tensor.value]
        except KeyError:
            raise Diverged("the model read a value that it had not read before") from None

    def _input(self, index: int) -> Tensor:
        """Give the copies of an input, the same ones each time: the model may write over them."""
        if index not in self._copied:
            self._copied[index] = self._inputs[index]()
        return self._copied[index]


def _standing(value: Any) -> list[Placeholder]:
    found: list[Placeholder] = []

    def note(tensor: Tensor) -> Tensor:
        if isinstance(tensor, Placeholder) and tensor.now is None:
            found.append(tensor)
        return tensor

    map_tensors(value, note)
    return found


def alike(recorded: Any, given: Any, numbers: int, rows: int) -> bool:
    """Tell whether the arguments of a call are those of the tape, but for the size of the batch.

    Args:
        recorded: those of the tape.
        given: those of now.
        numbers: of how many such batches an integer may tell the size.
        rows: for how many of them a tensor may be repeated.

    >>> alike((Ref(0), [2, -1], None), (Ref(0), [6, -1], None), numbers=3, rows=1)
    True
    >>> alike({"alpha": 2.0}, {"alpha": 6.0}, numbers=1, rows=3)
    False
    """
    if isinstance(recorded, Ref):
        return True
    if isinstance(recorded, Tensor):
        return recorded is given or (isinstance(given, Tensor) and _equal(recorded, given, rows))
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
    if recorded.dim() and given.shape == (rows, *recorded.shape[1:]) and len(recorded) == 1:
        recorded = recorded.expand_as(given)
    return torch.equal(recorded, given)


def _bounds(given: slice) -> tuple[Any, Any, Any]:
    return given.start, given.stop, given.step
