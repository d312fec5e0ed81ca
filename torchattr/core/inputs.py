"""The one place that knows what inputs, baselines and additional arguments look like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.core.device_faults import lost_device_named, refuse_lost
from torchattr.core.types import Tensors
from torchattr.errors import InputError, InputTypeError, ShapeError


@dataclass(frozen=True)
class Inputs:
    """The input tensors of one call, and whether they were given as a tuple.

    :meth:`restore` returns results in the same form.
    """

    tensors: tuple[Tensor, ...]
    is_tuple: bool

    @property
    def batch_size(self) -> int:
        return len(self.tensors[0])

    @property
    def aligned(self) -> bool:
        """Whether all tensors have the same first dimension."""
        return len({len(tensor) for tensor in self.tensors}) == 1

    def __repr__(self) -> str:
        return f"Inputs({', '.join(str(tuple(tensor.shape)) for tensor in self.tensors)})"

    def restore(self, results: Sequence[Any]) -> Any:
        """Return a tuple of results for a tuple of inputs, a single result for a single tensor."""
        return tuple(results) if self.is_tuple else results[0]


def as_inputs(inputs: Tensors, *, differentiable: bool = True, aligned: bool = True) -> Inputs:
    """Check `inputs` and record whether they are a tuple.

    Args:
        inputs: a tensor, or a tuple of tensors with equal first dimensions (the batch).
        differentiable: require a floating dtype, as every gradient method does.
        aligned: require equal first dimensions.

    Raises:
        InputTypeError: not a tensor or tuple of tensors, or not of a floating dtype.
        ShapeError: a tensor without a batch dimension, or batches of different sizes.
        InputError: NaN or infinite values, or examples without any element.
        DeviceLost: the context of the GPU that holds them is lost.

    >>> import torch
    >>> as_inputs(torch.zeros(2, 3)).batch_size
    2
    """
    tensors = as_tensors(inputs, "inputs")
    for tensor in tensors:
        refuse_lost(tensor.device)
    _check_batch(tensors)
    _check_size(tensors)
    if aligned:
        check_aligned(tensors)
    for position, tensor in enumerate(tensors):
        with lost_device_named():
            _check_values(tensor, _name("inputs", position, isinstance(inputs, (tuple, list))))
        if differentiable and not tensor.dtype.is_floating_point:
            raise InputTypeError(
                f"{_name('inputs', position, isinstance(inputs, (tuple, list)))} has dtype"
                f" {tensor.dtype}, which has no gradient; pass a floating tensor"
                " (for images: inputs.float() after the model's own normalisation)"
            )
    return Inputs(tensors, isinstance(inputs, (tuple, list)))


def as_tensors(value: Any, name: str) -> tuple[Tensor, ...]:
    """Return a tensor or a sequence of tensors as a tuple of tensors."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not values:
        raise InputTypeError(f"{name} is empty; pass a tensor or a tuple of tensors")
    for item in values:
        if not isinstance(item, Tensor):
            raise InputTypeError(
                f"{name} must be a tensor or a tuple of tensors, got {type(item).__name__}"
                f"{made_into_tensors(type(item))}"
            )
    return values


def made_into_tensors(kind: type) -> str:
    """Return how what was passed becomes a tensor, where that is known."""
    package = kind.__module__.partition(".")[0]
    if package == "numpy":
        return "; pass torch.from_numpy(...)"
    if package == "PIL":
        return "; pass load_model(...).preprocess(picture).tensor[None], or your own transform's"
    if package == "torchattr" and "tensor" in vars(kind).get("__annotations__", {}):
        return "; pass its .tensor[None], a batch of one"
    return ""


def as_arguments(additional_forward_args: Any) -> tuple[Any, ...]:
    """Return the additional positional arguments of the forward as a tuple."""
    if additional_forward_args is None:
        return ()
    if isinstance(additional_forward_args, tuple):
        return additional_forward_args
    return (additional_forward_args,)


def map_batched(
    arguments: Sequence[Any], batch_size: int, function: Callable[[Tensor], Tensor]
) -> tuple[Any, ...]:
    """Apply `function` to the tensors among `arguments` that have one row per example."""
    return tuple(function(one) if is_batched(one, batch_size) else one for one in arguments)


def is_batched(argument: Any, batch_size: int) -> bool:
    """Whether an argument is a tensor with one row per example."""
    return isinstance(argument, Tensor) and argument.dim() > 0 and len(argument) == batch_size


def as_baselines(baselines: Any, inputs: Inputs) -> tuple[Tensor | int | float, ...]:
    """Return one baseline per input: a number, or a tensor that broadcasts to the input.

    `None` means 0. A tensor may have one row for all examples or one row for each. The baseline of
    a bool input may be a bool.

    Raises:
        InputError: a finite number that the dtype of its input does not hold.
        InputTypeError: a baseline that is neither a number nor a tensor.
        ShapeError: a wrong number of baselines, or a tensor that does not broadcast to its input.
    """
    if baselines is None:
        baselines = (0,) * len(inputs.tensors)
    values = baselines if isinstance(baselines, (tuple, list)) else (baselines,)
    if len(values) != len(inputs.tensors):
        raise ShapeError(
            f"baselines has {len(values)} entries for {len(inputs.tensors)} inputs;"
            " pass one baseline per input"
        )
    return tuple(
        _checked_baseline(value, tensor, _name("baselines", position, inputs.is_tuple))
        for position, (value, tensor) in enumerate(zip(values, inputs.tensors, strict=True))
    )


def as_value(value: Tensor | int | float, tensor: Tensor) -> Tensor:
    """Return a number or a tensor in the dtype and on the device of another one, without a graph.

    A number does not pass through single precision on its way.

    >>> as_value(0.1, torch.zeros(1, dtype=torch.float64)).item()
    0.1
    """
    return torch.as_tensor(value, dtype=tensor.dtype, device=tensor.device).detach()


def _checked_baseline(value: Any, tensor: Tensor, name: str) -> Tensor | int | float:
    value = plain_numbers(value)
    fits = tensor.dtype == torch.bool or not isinstance(value, bool)
    if isinstance(value, (int, float)) and fits:
        if tensor.is_floating_point() and torch.finfo(tensor.dtype).max < abs(value) < inf:
            kind, shown = str(tensor.dtype).removeprefix("torch."), str(value)[:40]
            raise InputError(
                f"{name} must be a number that {kind} holds, as its input does, got {shown}"
            )
        return value
    if not isinstance(value, Tensor):
        raise InputTypeError(
            f"{name} must be a number or a tensor, got {type(value).__name__}"
            f"{made_into_tensors(type(value))}"
        )
    if not _broadcasts(value.shape, tensor.shape):
        raise ShapeError(
            f"{name} has shape {tuple(value.shape)}, which does not broadcast to the input's"
            f" {tuple(tensor.shape)}; pass a number, one row (1, ...) or one row per example"
        )
    return value


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    if len(shape) > len(to):
        return False
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))


def _check_batch(tensors: tuple[Tensor, ...]) -> None:
    for tensor in tensors:
        if tensor.dim() == 0:
            raise ShapeError(
                "inputs must have a batch dimension first, got a tensor without dimensions;"
                " add it with inputs.unsqueeze(0)"
            )


def _check_size(tensors: tuple[Tensor, ...]) -> None:
    """Refuse examples of no element, such as a picture of 0 × 0 pixels; a batch may be empty."""
    if all(tensor.shape[1:].numel() == 0 for tensor in tensors):
        shapes = " and ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise InputError(
            f"inputs of shape {shapes} have no elements per example; pass examples of at least one"
            " element, such as pictures of at least one pixel"
        )


def check_aligned(tensors: Sequence[Tensor]) -> None:
    """Check that tensors have the same first dimension.

    Raises:
        ShapeError: the first dimensions differ.
    """
    sizes = [len(tensor) for tensor in tensors]
    if len(set(sizes)) > 1:
        raise ShapeError(f"inputs must all have the same first dimension (the batch), got {sizes}")


def _check_values(tensor: Tensor, name: str) -> None:
    if tensor.is_meta or not tensor.dtype.is_floating_point or _sums_to_a_number(tensor):
        return
    rows = tensor.detach().reshape(len(tensor), -1)
    samples = (~torch.isfinite(rows).all(1)).nonzero().flatten().tolist()
    if samples:
        raise InputError(
            f"{name} holds NaN or infinite values in sample {_listed(samples)};"
            " their attributions would silently be NaN: repair or drop these samples"
        )


def all_finite(tensor: Tensor) -> bool:
    """Return whether no value is NaN or infinite.

    >>> all_finite(torch.tensor([3e38, 3e38])), all_finite(torch.tensor([0.0, float("nan")]))
    (True, False)
    """
    return _sums_to_a_number(tensor) or bool(torch.isfinite(tensor).all())


def _sums_to_a_number(tensor: Tensor) -> bool:
    """Whether the sum is finite, as then all values are: a fraction of the cost of each value."""
    return bool(
        torch.isfinite(tensor.detach().sum(dtype=torch.promote_types(tensor.dtype, torch.float32)))
    )


def _listed(numbers: list[int], most: int = 8) -> str:
    shown = ", ".join(map(str, numbers[:most]))
    return shown + (f" and {len(numbers) - most} more" if len(numbers) > most else "")


def _name(argument: str, position: int, is_tuple: bool) -> str:
    return f"{argument}[{position}]" if is_tuple else argument
