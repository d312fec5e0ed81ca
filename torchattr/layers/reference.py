"""What an operation was given in the run of the reference, for the run that is compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.errors import ModelError
from torchattr.layers.operations.operation import Call
from torchattr.layers.rule import LayerRule


@dataclass(frozen=True)
class Tolerance:
    """The differences `x - x0` whose quotients are derivatives: rounding is all that they are.

    Attributes:
        relative: times the larger of `|x|` and `|x0|`.
        absolute: added to that.
    """

    relative: float = 1e-7
    absolute: float = 1e-30

    def is_small(self, difference: Tensor, x: Tensor, x0: Tensor) -> Tensor:
        """Whether each difference is small; so is that of two infinite values, which is NaN."""
        size = difference.abs()
        if not self.relative:
            return ~(size >= self.absolute)
        return ~(size > torch.maximum(x.abs(), x0.abs()).mul_(self.relative).add_(self.absolute))


@dataclass(frozen=True)
class _Recorded:
    """The inputs of one call, and their versions when it ran."""

    call: Call
    inputs: tuple[Tensor, ...]
    versions: tuple[int, ...]

    @property
    def is_intact(self) -> bool:
        return self.versions == tuple(tensor._version for tensor in self.inputs)


class Reference:
    """The calls in a run of the reference, which another run meets in the same order.

    The rules in the run's graph refer to this, so it may not refer to that graph: such a circle
    through PyTorch's graph is never collected.

    Args:
        tolerance: which differences count as none.
        copies: whether inputs are copied, which is needed where the model writes over them later.

    Attributes:
        tolerance: which differences count as none.
        copies: how many copies of the rows the other run is compared with.
    """

    def __init__(self, tolerance: Tolerance, *, copies: bool = False) -> None:
        self.tolerance = tolerance
        self.copies = 1
        self._copies = copies
        self._calls: list[_Recorded] = []
        self._position = 0
        self._kept: dict[Call, tuple[Any, ...]] = {}

    def record(self, call: Call, inputs: Sequence[Tensor]) -> None:
        """Record a call of the reference's run."""
        held = tuple(one.detach().clone() if self._copies else one.detach() for one in inputs)
        self._calls.append(_Recorded(call, held, tuple(tensor._version for tensor in held)))

    @property
    def is_intact(self) -> bool:
        """Whether nothing wrote over the inputs of the calls."""
        return all(recorded.is_intact for recorded in self._calls)

    def restart(self, copies: int = 1) -> None:
        """Begin another run that is compared with this one, or with copies of its rows."""
        self.copies = copies
        self._position = 0
        self._kept.clear()

    def next_inputs(
        self, call: Call, inputs: Sequence[Tensor], dependent: Sequence[bool]
    ) -> tuple[Tensor, ...] | None:
        """Return the inputs of the next call in the run of the reference.

        `None` if that is over: a checkpointed part runs again in each backward, where all that is
        needed is kept already.

        Args:
            call: the call of the other run.
            inputs: its inputs.
            dependent: for each, whether it depends on what is attributed.

        Raises:
            ModelError: the reference ran something else in this place.
        """
        if self._position == len(self._calls):
            return None
        recorded = self._calls[self._position]
        self._position += 1
        if recorded.call.operation != call.operation or len(recorded.inputs) != len(inputs):
            raise ModelError(_another(call, recorded.call))
        pairs = zip(recorded.inputs, call.shapes, strict=True)
        held = tuple(with_copies(tensor, shape, self.copies) for tensor, shape in pairs)
        if tuple(tensor.shape for tensor in held) != tuple(call.shapes):
            raise ModelError(_another(call, recorded.call))
        for tensor, constant, depends in zip(inputs, held, dependent, strict=True):
            if not depends and not is_same(tensor, constant):
                raise ModelError(
                    f"{call.spelling} takes a tensor that is computed from the inputs, but is cut"
                    " from them (by detach, no_grad or a comparison), so that what its difference"
                    " contributes is unknown; use IntegratedGradients, or compute it from other"
                    " arguments"
                )
        return held

    def keep(self, call: Call, values: tuple[Any, ...]) -> None:
        """Keep values for the backward of a call, without their place in the graph."""
        self._kept[call] = tuple(one.detach() if isinstance(one, Tensor) else one for one in values)

    def kept(self, call: Call) -> tuple[Any, ...]:
        """Return what was kept of a call of the other run."""
        return self._kept[call]


class Recorder(LayerRule):
    """Records the inputs of a call in the run of the reference, which no backward follows.

    Args:
        reference: where to.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        self.reference.record(call, x if isinstance(x, tuple) else (x,))
        return ()

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
        return (None,) * len(call.shapes)


def is_same(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same values; quick where they share their memory."""
    if tensor.shape != other.shape or tensor.dtype != other.dtype:
        return False
    places = [(one.data_ptr(), one.stride(), one.device) for one in (tensor, other)]
    return places[0] == places[1] or torch.equal(tensor, other)


def copied_dim(shape: Sequence[int], longer: Sequence[int], copies: int) -> int | None:
    """Return the dimension that holds copies in a longer shape; `None` if both are the same.

    Raises:
        ModelError: the shapes differ in any other way.
    """
    unlike = [dim for dim, (a, b) in enumerate(zip(shape, longer, strict=False)) if a != b]
    if len(shape) == len(longer) and not unlike:
        return None
    if (
        len(shape) != len(longer)
        or len(unlike) > 1
        or longer[unlike[0]] != copies * shape[unlike[0]]
    ):
        raise ModelError(
            f"a result has shape {tuple(longer)}, which is not that of copies of {tuple(shape)}"
        )
    return unlike[0]


def with_copies(tensor: Tensor, shape: Sequence[int], copies: int) -> Tensor:
    """Return a tensor with its values repeated along the dimension that is longer in a shape.

    Raises:
        ModelError: as for :func:`copied_dim`.
    """
    if copies == 1 or tensor.shape == shape:
        return tensor
    dim = copied_dim(tensor.shape, shape, copies)
    if dim is None or tensor.shape[dim] == 1:
        return tensor.expand(tuple(shape))
    return tensor.repeat([copies if one == dim else 1 for one in range(tensor.dim())])


def _another(call: Call, reference: Call) -> str:
    return (
        f"the model ran {call.spelling} on {_shapes(call)} for the inputs, but"
        f" {reference.spelling} on {_shapes(reference)} for the baselines in its place, so their"
        " differences cannot be compared: what runs depends on the values. Choose baselines for"
        " which the model runs alike, or IntegratedGradients"
    )


def _shapes(call: Call) -> str:
    return ", ".join(str(tuple(shape)) for shape in call.shapes)
