"""Read layer outputs as feature maps `(N, channels, spatial...)`, or explain why they are not.

The layout of values is tracked through the forward (see :class:`torchattr.layers.Layout`): channels
may come last, and tokens form a grid, without the class token. Attention weights, heads, and values
whose rows are not the examples are not feature maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.core.pytree import filled
from torchattr.errors import LayerError, ShapeError
from torchattr.layers import Captured, Layout, reading


def maps_layout(call: Captured, inputs: Sequence[Tensor]) -> Layout | str:
    """Return the layout of the feature maps that a layer returned, or why they are not maps.

    Args:
        call: the captured output.
        inputs: the model's inputs.
    """
    if len(call.shapes) != 1:
        return (
            f"they are {len(call.shapes)} tensors, not one" if call.shapes else "it is not a tensor"
        )
    (shape,), (tracked,) = call.shapes, call.layouts
    layout = reading(shape, tracked, inputs)
    if isinstance(layout, str):
        return layout
    return why_unfit(shape, layout, len(inputs[0])) or layout


def why_unfit(shape: Sequence[int], layout: Layout, batch: int | None) -> str | None:
    """Return why values of a known layout are not feature maps of the batch, or `None`."""
    if len(shape) < 2:
        return "it has no channels"
    if batch is not None and shape[layout.batch] != batch:
        return (
            f"it gives {shape[layout.batch]} rows for {batch} examples, so its first dimension is"
            " not the batch of the inputs (it may hold frames or regions)"
        )
    return None


def spatial_layout(call: Captured, inputs: Sequence[Tensor]) -> Layout | str:
    """Return the layout of feature maps with as many spatial dimensions as the first input.

    Otherwise, return the reason why there are none.
    """
    like = inputs[0].shape
    layout = maps_layout(call, inputs)
    if isinstance(layout, Layout) and (len(like) < 3 or len(layout.sizes) != len(like) - 2):
        return (
            f"it has {len(layout.sizes) or 'no'} spatial dimensions, but inputs of shape"
            f" {tuple(like)} have {max(len(like) - 2, 0) or 'none'}"
        )
    return layout


def maps_shape(call: Captured, layout: Layout) -> tuple[int, ...]:
    """Return the shape of the feature maps of one example, `(channels, spatial...)`."""
    (shape,) = call.shapes
    outside = (layout.batch, *layout.spatial)
    channels = 1
    for dim, size in enumerate(shape):
        channels *= 1 if dim in outside else size
    return (channels, *layout.sizes)


def maps_of(name: str, call: Captured, inputs: Sequence[Tensor]) -> Tensor:
    """Return the feature maps of a layer, `(N, channels, spatial...)`, still in the graph.

    Raises:
        LayerError: it has none with as many spatial dimensions as the first input.
    """
    layout = spatial_layout(call, inputs)
    if isinstance(layout, str):
        raise no_maps_error(name, call, layout)
    return layout.to_grid(call.values[0])


def no_maps_error(name: str, call: Captured, why: str) -> LayerError:
    """Return the error for a layer without feature maps."""
    return LayerError(
        f"the layer {name!r} returned {shapes_of(call)}, so it has no feature maps: {why}; choose"
        " another layer, such as a convolution or a layer inside it, or read the values from"
        " ta.feature_maps(...)[layer]"
    )


def shapes_of(call: Captured) -> str:
    """Return the shapes of a layer's output, nested as the layer returned them."""
    return nested_shapes(call.form, call.shapes) if call.shapes else "no tensor"


def nested_shapes(form: Any, shapes: Sequence[Sequence[int]]) -> str:
    """Return shapes as text, nested by a form of :func:`torchattr.core.pytree.skeleton`.

    >>> nested_shapes({"low": 0, "rest": (1,)}, [(2, 3), (4,)])
    '{low: (2, 3), rest: [(4,)]}'
    """
    return _text(filled(form, [tuple(shape) for shape in shapes]))


def _text(shapes: Any) -> str:
    if isinstance(shapes, Mapping):
        return f"{{{', '.join(f'{name}: {_text(part)}' for name, part in shapes.items())}}}"
    if isinstance(shapes, tuple) and not all(isinstance(part, int) for part in shapes):
        return f"[{', '.join(map(_text, shapes))}]"
    return str(shapes)


def check_position(position: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return a position inside a map of this shape, with non-negative indices.

    Raises:
        ShapeError: it has another number of dimensions, or lies outside.
    """
    position = plain_numbers(position)
    inside = len(position) == len(shape) and all(
        isinstance(p, int) and -size <= p < size for p, size in zip(position, shape, strict=True)
    )
    if not inside:
        raise ShapeError(
            f"position {tuple(position)} is outside the layer's maps of shape {tuple(shape)}; pass"
            f" {len(shape)} integers below these sizes"
        )
    return tuple(p % size for p, size in zip(position, shape, strict=True))
