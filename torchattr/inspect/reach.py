"""How far a place of a layer reaches, and which layers have places."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchattr._types import Forward, Layer
from torchattr.errors import LayerError, ShapeError
from torchattr.inputs import as_arguments, as_inputs
from torchattr.inspect.local import REACH, bounding_box
from torchattr.layers import Place, Trace
from torchattr.layers.guards import gradients
from torchattr.methods.neuron import last_call
from torchattr.select import find_layer


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
    place = Place(find_layer(model, layer)[1])
    arguments = as_arguments(additional_forward_args)
    trace = Trace(model, given.tensors, arguments, tables=[REACH], places=[place], key=any_output)
    values = one_with_places(last_call(trace, place).values, given.tensors[0])
    checked = check_position(position, values.shape[2:])
    index: tuple[slice | int, ...] = (slice(None), slice(None), *checked)
    with gradients():
        scores = values[index].sum(1)
    (found,) = trace.gradients(scores, trace.input_edges[:1], keep=False)
    box = None if found is None else bounding_box(found.flatten(0, 1))
    if box is None:
        raise LayerError("nothing of the inputs reaches this place of the layer")
    return box


def any_output(output: object) -> Tensor:
    """Take any output of a model: what a layer gives does not depend on it."""
    return torch.empty(0)


def one_with_places(values: Sequence[Tensor], like: Tensor) -> Tensor:
    """Give the only tensor that a layer gave, `(N, channels, places...)`.

    Raises:
        LayerError: several tensors, or one without the dimensions of the input `like`.
    """
    if len(values) != 1:
        raise LayerError(
            f"the layer gives {len(values)} tensors, not one with feature maps; choose a layer"
            " inside it"
        )
    (value,) = values
    why = misfit(value.shape, like.shape)
    if why is not None:
        raise LayerError(f"the layer gives values of shape {tuple(value.shape)}: {why}")
    return value


def misfit(shape: torch.Size, like: torch.Size) -> str | None:
    """Say why values of a shape are no feature maps of inputs of the shape `like`."""
    if len(like) < 3 or len(shape) != len(like):
        return (
            f"they are no feature maps of inputs of shape {tuple(like)}, since both must be"
            " (N, channels, places...); choose a layer with places, such as a convolution"
        )
    if shape[0] != like[0]:
        return (
            f"their first dimension is not that of the {like[0]} inputs (it may hold frames or"
            " regions), so it is not known whose maps they are; choose a layer before or after"
            " that part, or read the values from ta.feature_maps(...)[layer]"
        )
    return None


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
