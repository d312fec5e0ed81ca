"""A call of a function, as the rules for axes read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from torch import Tensor

from torchattr.core.torch_private import OpOverload
from torchattr.layers.layouts.axes import Axes, joined, others


@lru_cache(maxsize=4096)
def base_name(function: Any) -> str:
    """Return the name of a function without what tells its spellings apart.

    >>> import torch
    >>> base_name(Tensor.__getitem__), base_name(torch.relu_), base_name(Tensor.T.__get__)
    ('getitem', 'relu', 'T')
    """
    if isinstance(function, OpOverload):
        name = function._schema.name.split("::")[-1]
    else:
        name = str(getattr(function, "__name__", type(function).__name__))
    if name == "__get__":
        name = str(getattr(getattr(function, "__self__", None), "__name__", name))
    return name.strip("_") or name


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of arguments, those in lists and tuples included."""
    return (one for one in flat(value) if isinstance(one, Tensor))


def flat(value: Any) -> list[Any]:
    """Return what lists, tuples and dicts hold, however deep."""
    found: list[Any] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[Any]) -> None:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        for one in value:
            _collect(one, found)
    else:
        found.append(value)


Lookup: TypeAlias = Callable[[Tensor], "Axes | None"]
"""Gives what is known of a tensor."""


@dataclass(frozen=True)
class FunctionCall:
    """A call, and what is known of its tensors.

    Attributes:
        function: what was called.
        args: its positional arguments.
        kwargs: its keywords.
        outputs: the tensors that it gave.
        known: gives the axes of a tensor.
    """

    function: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    outputs: Sequence[Tensor]
    known: Lookup

    @property
    def name(self) -> str:
        return base_name(self.function)

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments."""
        return list(tensors_in([self.args, self.kwargs]))

    @property
    def source(self) -> Axes | None:
        """What is known of the first tensor, which the function is applied to."""
        return self.known(self.tensors[0])

    @property
    def sources(self) -> list[Axes]:
        """What is known of all tensors of which anything is."""
        return [axes for one in self.tensors if (axes := self.known(one)) is not None]

    def argument(self, position: int, *names: str, default: Any = None) -> Any:
        """Return an argument by one of its names, or by its position."""
        for name in names:
            if name in self.kwargs:
                return self.kwargs[name]
        return self.args[position] if len(self.args) > position else default

    def unknown(self) -> list[Axes]:
        """Return that nothing is known of what the call gave."""
        return [others(output.shape) for output in self.outputs]


AxisRule: TypeAlias = Callable[[FunctionCall], "list[Axes]"]
"""From a call to the axes of its outputs."""


def alike(call: FunctionCall) -> list[Axes]:
    """Keep what is known where the result has the shape that its inputs have together."""
    several = call.sources
    shape: Sequence[int] = [one.size for one in several[0]]
    same = all(axes == several[0] for axes in several[1:])
    if same and all(list(output.shape) == shape for output in call.outputs):
        return several[:1] * len(call.outputs)
    for axes in several[1:]:
        shape = _broadcast(shape, [one.size for one in axes])
    return [
        joined(several, output.shape) if _covers(output.shape, shape) else others(output.shape)
        for output in call.outputs
    ]


def _broadcast(one: Sequence[int], other: Sequence[int]) -> Sequence[int]:
    """Return the shape of two tensors together; what no tensor has where they do not fit."""
    count = max(len(one), len(other))
    pairs = zip(_filled(one, count), _filled(other, count), strict=True)
    return [b if a == 1 else a if b in (1, a) else -1 for a, b in pairs]


def _filled(shape: Sequence[int], count: int) -> list[int]:
    return [1] * (count - len(shape)) + list(shape)


def _covers(shape: Sequence[int], part: Sequence[int]) -> bool:
    """Whether tensors of the second shape, and constants, are broadcast to the first."""
    if len(part) > len(shape):
        return False
    tail = shape[len(shape) - len(part) :]
    return all(small in (1, size) for size, small in zip(tail, part, strict=True))


def unknown(call: FunctionCall) -> list[Axes]:
    return call.unknown()
