"""A call of a function, as the axis rules read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from torchattr.layers.layouts.axes import Axes, joined, others
from torchattr.layers.operations.names import base_name


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors among arguments, including those in lists, tuples and dicts."""
    return (leaf for leaf in flat(value) if isinstance(leaf, Tensor))


def flat(value: Any) -> list[Any]:
    """Return the leaves of nested lists, tuples and dicts."""
    leaves: list[Any] = []
    _collect(value, leaves)
    return leaves


def _collect(value: Any, leaves: list[Any]) -> None:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        for entry in value:
            _collect(entry, leaves)
    else:
        leaves.append(value)


Lookup: TypeAlias = Callable[[Tensor], "Axes | None"]
"""Returns the axes of a tensor, if known."""


@dataclass(frozen=True)
class FunctionCall:
    """A call, with the known axes of its tensors.

    Attributes:
        function: the called function.
        args: its positional arguments.
        kwargs: its keyword arguments.
        outputs: the tensors that it returned.
        known: returns the axes of a tensor, if known.
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
        """Axes of the first tensor argument, if known."""
        return self.known(self.tensors[0])

    @property
    def sources(self) -> list[Axes]:
        """Axes of the tensor arguments whose axes are known."""
        return [axes for tensor in self.tensors if (axes := self.known(tensor)) is not None]

    def argument(self, position: int, *names: str, default: Any = None) -> Any:
        """Return an argument by one of its names, or by its position."""
        for name in names:
            if name in self.kwargs:
                return self.kwargs[name]
        return self.args[position] if len(self.args) > position else default

    def unknown(self) -> list[Axes]:
        """Return unknown axes for all outputs."""
        return [others(output.shape) for output in self.outputs]


AxisRule: TypeAlias = Callable[[FunctionCall], "list[Axes]"]
"""Returns the axes of a call's outputs; nothing where these do not depend on the inputs."""


def alike(call: FunctionCall) -> list[Axes]:
    """Keep the known axes if the result has the shape of the inputs broadcast together."""
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
    """Return the broadcast shape of two tensors; -1 where they do not fit."""
    count = max(len(one), len(other))
    pairs = zip(_filled(one, count), _filled(other, count), strict=True)
    return [b if a == 1 else a if b in (1, a) else -1 for a, b in pairs]


def _filled(shape: Sequence[int], count: int) -> list[int]:
    return [1] * (count - len(shape)) + list(shape)


def _covers(shape: Sequence[int], smaller: Sequence[int]) -> bool:
    """Whether a tensor of the second shape, perhaps with constants, broadcasts to the first."""
    if len(smaller) > len(shape):
        return False
    tail = shape[len(shape) - len(smaller) :]
    return all(small in (1, size) for size, small in zip(tail, smaller, strict=True))


def unknown(call: FunctionCall) -> list[Axes]:
    return call.unknown()


def untracked(call: FunctionCall) -> list[Axes]:
    """Constants in the form of a tensor have nothing of its positions."""
    return []
