"""How far a place of a layer reaches, and which layers have places."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.select import find_layer
from torchattr.core.types import Forward, Layer
from torchattr.errors import LayerError, ShapeError
from torchattr.inspect.back_projection.local_rules import REACH, bounding_box
from torchattr.inspect.grids import maps_of
from torchattr.layers import TapPoint, Trace, gradients
from torchattr.methods import last_call


def receptive_field(
    model: Forward,
    inputs: Tensor,
    layer: Layer,
    position: Sequence[int],
    *,
    additional_forward_args: object = None,
) -> tuple[slice, ...]:
    """Give the part of the picture that one place of a layer can see, one slice a dimension.

    It is measured, not calculated from a list of layers: marks go back from the place through the
    very operations that the model runs, convolutions and pools sending them to all of their
    window. So it knows branches and borders. An operation that joins all places, such as
    attention or a squeeze-and-excitation, makes it the whole picture.

    It is *not* the effective receptive field: it says what can matter, not how much.

    Args:
        model: the model.
        inputs: pictures `(N, C, ...)`; only their shape matters.
        layer: the name of the layer, or the module.
        position: the place, such as `(row, column)`.
        additional_forward_args: further positional arguments of the forward.

    Raises:
        LayerError: the layer did not run, or has no output with places.
        ShapeError: there is no such place.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.MaxPool2d(2))
    >>> ta.receptive_field(model, torch.zeros(1, 3, 8, 8), "1", (0, 2))
    (slice(0, 4, None), slice(4, 8, None))
    """
    given = as_inputs(inputs)
    name, module = find_layer(model, layer)
    place = TapPoint(module, read=True)
    arguments = as_arguments(additional_forward_args)
    trace = Trace(model, given.tensors, arguments, tables=[REACH], places=[place], key=any_output)
    with gradients():
        values = maps_of(name, last_call(trace, place), given.tensors)
        checked = check_position(position, values.shape[2:])
        index: tuple[slice | int, ...] = (slice(None), slice(None), *checked)
        # Different weights: the sum of channels that were normalised together is constant.
        weights = torch.linspace(1, 2, values.shape[1], dtype=values.dtype, device=values.device)
        scores = (values[index] * weights).sum(1)
    (found,) = trace.gradients(scores, trace.input_edges[:1], keep=False)
    box = None if found is None else bounding_box(found.flatten(0, 1))
    if box is None:
        raise LayerError("nothing of the inputs reaches this place of the layer")
    return box


def any_output(output: object) -> Tensor:
    """Take any output of a model: what a layer gives does not depend on it."""
    return torch.empty(0)


def check_position(position: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Give a place inside a map of this shape, counted from its first corner.

    Raises:
        ShapeError: it has another number of dimensions, or lies outside.
    """
    inside = len(position) == len(shape) and all(
        isinstance(p, int) and -size <= p < size for p, size in zip(position, shape, strict=True)
    )
    if not inside:
        raise ShapeError(
            f"the place {tuple(position)} is not inside the layer's maps of {tuple(shape)}; give"
            f" {len(shape)} whole numbers below these sizes"
        )
    return tuple(p % size for p, size in zip(position, shape, strict=True))
