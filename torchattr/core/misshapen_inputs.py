"""Shapes that keep a model from taking its inputs, named once a forward has failed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from torchattr.errors import ShapeError, TorchattrError

_AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}
_ORDER = {1: "0, 2, 1", 2: "0, 3, 1, 2", 3: "0, 4, 1, 2, 3"}
"""How a tensor whose channels come last is permuted, by the number of its spatial dimensions."""

_CONVOLUTIONS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
_CHANNELS = re.compile(
    r"weight of size \[(?P<weight>[\d, ]+)\], expected input\[(?P<given>[\d, ]+)\] to have"
    r" (?P<channels>\d+) channels"
)
_DIMENSIONS = re.compile(
    r"input to conv(?P<dims>\d)d, but got input of size: \[(?P<given>[\d, ]*)\]"
)
"""What PyTorch says of convolutions whose input has other channels or dimensions."""

_LATER = (
    "Dimension out of range",
    "Expected 3D or 4D input",
    "Given normalized_shape",
    "expected 2D or 3D input",
    "expected 4D input",
    "expected 5D input",
    "is invalid for input of size",
    "must match the size",
    "not enough values to unpack",
    "shapes cannot be multiplied",
)
"""What is said later of a single example without its batch dimension, which convolutions take."""


@dataclass(frozen=True)
class _Taken:
    """What a convolution takes: this number of channels and of spatial dimensions."""

    channels: int
    dims: int

    def __str__(self) -> str:
        return f"(N, {self.channels}, {_AXES[self.dims]})"


def raise_if_misshapen(
    error: BaseException, modules: Sequence[nn.Module], inputs: Sequence[Tensor]
) -> None:
    """Raise :class:`ShapeError` if a model's forward failed because of the shape of its input.

    Args:
        error: what the forward raised.
        modules: the modules that it ran.
        inputs: its attributed inputs; of several, nothing is said, since it is not known which
            layer takes which.

    Raises:
        ShapeError: the batch dimension is missing, or the number of channels or of dimensions is
            wrong; the message has both shapes and what to pass.

    >>> import torch
    >>> model, x = torch.nn.Conv2d(3, 1, 3), torch.zeros(1, 1, 8, 8)
    >>> try:
    ...     model(x)
    ... except RuntimeError as error:
    ...     raise_if_misshapen(error, [model], [x])
    Traceback (most recent call last):
    torchattr.errors.ShapeError: inputs has the shape (1, 1, 8, 8), but the model takes (N, 3, ...
    """
    if isinstance(error, TorchattrError) or len(inputs) != 1:
        return
    (given,) = inputs
    taken = _taken(str(error), modules, given)
    if taken is not None:
        fault, way_out = _difference(tuple(given.shape), taken)
        raise ShapeError(
            f"inputs has the shape {tuple(given.shape)}, but the model takes {taken}: {fault};"
            f" pass {way_out}"
        ) from error
    if _fails_later(str(error)) and _is_one_row(modules, given):
        raise ShapeError(
            f"inputs has the shape {tuple(given.shape)}, which is that of one example without a"
            " batch dimension; pass inputs.unsqueeze(0)"
        ) from error


def _taken(text: str, modules: Sequence[nn.Module], given: Tensor) -> _Taken | None:
    """Return what the convolution takes that was given the input, if that does not fit."""
    if found := _CHANNELS.search(text):
        weight = _numbers(found["weight"])
        shapes = (tuple(given.shape), (1, *given.shape))
        reached = _numbers(found["given"]) in shapes
        return _Taken(int(found["channels"]), len(weight) - 2) if reached else None
    first = next(_convolutions(modules), None)
    if first is None:
        return None
    taken = _Taken(first.in_channels, len(first.kernel_size))
    if found := _DIMENSIONS.search(text):
        reached = _numbers(found["given"]) == tuple(given.shape)
        return taken if reached and int(found["dims"]) == taken.dims else None
    single = given.dim() == taken.dims + 1 and given.shape[0] == taken.channels
    return taken if single and _fails_later(text) else None


def _fails_later(text: str) -> bool:
    return any(sign in text for sign in _LATER)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, filter(None, text.split(", "))))


def _convolutions(modules: Sequence[nn.Module]) -> Iterator[Any]:
    for module in modules:
        yield from (one for one in module.modules() if isinstance(one, _CONVOLUTIONS))


def _difference(given: tuple[int, ...], taken: _Taken) -> tuple[str, str]:
    """Return what is wrong with a shape, and what would be right."""
    whole = taken.dims + 2
    if len(given) == whole - 1:
        _, then = _channels_fault((1, *given), taken)
        return "the batch dimension is missing", f"inputs.unsqueeze(0){then}"
    if len(given) != whole:
        return f"it has {len(given)} dimensions instead of {whole}", f"a tensor {taken}"
    fault, then = _channels_fault(given, taken)
    return fault, f"inputs{then}" if then else f"a tensor {taken}"


def _channels_fault(given: tuple[int, ...], taken: _Taken) -> tuple[str, str]:
    """Return what is wrong with the channels of a batch, and the call that mends it."""
    count = given[1]
    if count == taken.channels:
        return "", ""
    if given[-1] == taken.channels:
        return "the channels come last", f".permute({_ORDER[taken.dims]})"
    fault = f"it has {count} channel{'s' * (count != 1)} instead of {taken.channels}"
    if count == 1:
        return fault, f".expand(-1, {taken.channels}{', -1' * taken.dims})"
    return fault, f"[:, :{taken.channels}]" if count > taken.channels else ""


def _is_one_row(modules: Sequence[nn.Module], given: Tensor) -> bool:
    """Whether all values of the input together are what the first layer takes of each example."""
    layers = (one for module in modules for one in module.modules() if not list(one.children()))
    first = next((one for one in layers if list(one.parameters(recurse=False))), None)
    if not isinstance(first, nn.Linear) or given.dim() < 2 or len(given) == 1:
        return False
    return given.numel() == first.in_features
