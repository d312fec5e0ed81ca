"""Running the model once more: what is known of its values is handed in, the rest is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchattr.incremental.plan import Plan
from torchattr.incremental.tape import ABOUT_SHAPE, Entry, fill, map_tensors


class Diverged(Exception):
    """The model ran otherwise than in its clean forward; the message says where."""


class Placeholder(Tensor):
    """Stands for a value that is followed on changed pixels only: a shape, a type, a device."""

    value: int

    @staticmethod
    def __new__(cls, shape: Sequence[int], like: torch.dtype, device: torch.device) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, tuple(shape), dtype=like, device=device)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
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
        plan: Plan,
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
        tape = plan.reading.tape
        self._awaited = [
            (position, entry)
            for position, entry in enumerate(tape.entries)
            if any(index in plan.grids for index in entry.inputs)
        ]
        self._next = 0

    def placeholder(self, index: int) -> Tensor:
        """Give what stands for a value."""
        value = self._plan.reading.tape.values[index]
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
            return func(*args, **kwargs)
        position, entry = self._expected(func, standing)
        if position in self._plan.followed:
            return self._given(entry, standing)
        return func(*self.whole(args), **self.whole(kwargs))

    def _expected(self, function: Any, standing: Sequence[Placeholder]) -> tuple[int, Entry]:
        """Give the call of the tape that this must be.

        Raises:
            Diverged: it is not.
        """
        if self._next == len(self._awaited):
            raise Diverged("the model went on after its last call")
        position, entry = self._awaited[self._next]
        self._next += 1
        followed = [index for index in entry.inputs if index in self._plan.grids]
        if entry.function is not function or followed != [one.value for one in standing]:
            raise Diverged(
                f"the model called {getattr(function, '__name__', function)} where it had called"
                f" {getattr(entry.function, '__name__', entry.function)}"
            )
        return position, entry

    def _given(self, entry: Entry, standing: Sequence[Placeholder]) -> Any:
        """Give the result of a call that is followed; where it is its argument, rename that."""
        if not entry.same:
            return fill(entry.result, self.placeholder)
        standing[0].value = entry.outputs[0]
        return standing[0]

    def _whole(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Placeholder):
            return tensor
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
        if isinstance(tensor, Placeholder):
            found.append(tensor)
        return tensor

    map_tensors(value, note)
    return found
