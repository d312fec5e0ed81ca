"""Devices and dtypes that keep a model from taking its inputs, named once a forward has failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from torchattr.errors import InputError, TorchattrError

_OTHER_DEVICE = ("same device", "is not on the expected device")
_OTHER_DTYPE = (
    "does not match weight dtype",
    "expected scalar type",
    "must have the type torch.",
    "must share same datatype",
    "same dtype",
    "should be the same",
)
_NO_SUCH_DTYPE = (
    "could not infer output dtype",
    "does not support",
    "following scalar types",
    "not implemented for '",
    "not supported for",
)
"""What PyTorch says where an operation meets tensors of different devices or dtypes, or of a dtype
that it has no code for. `should be the same` stands for both."""

_EVERYWHERE = (torch.float32, torch.float64)
"""Dtypes that every device's operations take, so that inputs of them are not at fault."""

_Property = torch.device | torch.dtype


def raise_if_unlike(
    error: BaseException,
    modules: Sequence[nn.Module],
    inputs: Sequence[Tensor],
    arguments: Sequence[Any] = (),
) -> None:
    """Raise :class:`InputError` if a model's forward failed because of devices or dtypes.

    A model may move or convert its inputs itself, so that a difference alone is no error.

    Args:
        error: what the forward raised.
        modules: the modules that it ran.
        inputs: its attributed inputs.
        arguments: its further arguments; of the tensors among them the device counts.

    Raises:
        InputError: they differ, or an operation does not take the inputs' dtype; the message names
            both sides.

    >>> import torch
    >>> model, x = torch.nn.Linear(2, 1), torch.zeros(1, 2).double()
    >>> try:
    ...     model(x)
    ... except RuntimeError as error:
    ...     raise_if_unlike(error, [model], [x])
    Traceback (most recent call last):
    torchattr.errors.InputError: the model does not take such inputs: inputs is torch.float64, ...
    """
    if isinstance(error, TorchattrError):
        return
    reason = _reason(str(error), modules, inputs, arguments)
    if reason is not None:
        raise InputError(f"the model does not take such inputs: {reason}") from error


def _reason(
    text: str, modules: Sequence[nn.Module], inputs: Sequence[Tensor], arguments: Sequence[Any]
) -> str | None:
    of_device, of_dtype, of_support = (
        any(sign in text for sign in signs)
        for signs in (_OTHER_DEVICE, _OTHER_DTYPE, _NO_SUCH_DTYPE)
    )
    if not (of_device or of_dtype or of_support):
        return None
    given = _named("inputs", inputs)
    own = _own(modules)
    reason = None
    if of_device or of_dtype:
        devices = {name: value.device for name, value in given.items()}
        further = _named("additional_forward_args", arguments)
        devices |= {name: value.device for name, value in further.items()}
        reason = _difference(devices, {name: value.device for name, value in own.items()})
    if reason is None and (of_dtype or of_support):
        # Buffers and quantised parameters may rightly be integers.
        floating = {name: p.dtype for name, p in own.items() if p.is_floating_point()}
        reason = _difference({name: value.dtype for name, value in given.items()}, floating)
    if reason is None and of_support:
        reason = _unsupported(text, given)
    return reason


def _named(argument: str, values: Sequence[Any]) -> dict[str, Tensor]:
    """Return the tensors among the values of an argument, by how its user writes them."""
    return {
        f"{argument}[{position}]" if len(values) > 1 else argument: value
        for position, value in enumerate(values)
        if isinstance(value, Tensor)
    }


def _own(modules: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Return the parameters and buffers of modules by name."""
    return dict(chain.from_iterable(map(_tensors_of, modules)))


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _difference(given: Mapping[str, _Property], own: Mapping[str, _Property]) -> str | None:
    """Return what differs from the model or, if nothing does, within the model."""
    holder, expected = "the model's parameters", next(iter(own.values()), None)
    if expected is None:
        holder, expected = next(iter(given.items()))
    for name, value in given.items():
        if value != expected:
            way_out = f"pass {name}.to({_argument(expected)}), or convert the model"
            return f"{name} is {_said(value)}, {holder} {_said(expected)}; {way_out}"
    first = next(iter(own), None)
    for name, value in own.items():
        if value != expected:
            sides = f"the model's {name} is {_said(value)}, its {first} {_said(expected)}"
            return f"{sides}; convert the whole model with model.to({_argument(expected)})"
    return None


def _unsupported(text: str, given: Mapping[str, Tensor]) -> str | None:
    """Return which input has a dtype that an operation was not written for."""
    for name, value in given.items():
        if value.dtype not in _EVERYWHERE:
            said = (text.splitlines() or [""])[0]
            return (
                f"{name} is {value.dtype} on {value.device}, which an operation of the model does"
                f" not take ({said}); pass {name}.float() to a model of torch.float32, or use a"
                " device that has the operation"
            )
    return None


def _said(value: _Property) -> str:
    return f"on {value}" if isinstance(value, torch.device) else str(value)


def _argument(value: _Property) -> str:
    return repr(str(value)) if isinstance(value, torch.device) else str(value)
