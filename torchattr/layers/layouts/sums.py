"""The effect on axes of functions that compute new values: convolutions, products, reductions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr.layers.layouts.axes import OTHER, Axes, Axis, axis, joined, others, reshaped, resized
from torchattr.layers.layouts.calls import FunctionCall, alike, flat
from torchattr.layers.operations.names import base_name


def windowed(call: FunctionCall) -> list[Axes]:
    """Convolutions and pools: channels change, spatial dimensions are resized."""
    source = call.source
    if source is None:
        return call.unknown()
    return [
        _slid(source, output.shape, sliding_dims(call.function, source)) for output in call.outputs
    ]


def _slid(source: Axes, shape: Sequence[int], dims: int) -> Axes:
    if len(shape) != len(source):
        return others(shape)
    channel = len(source) - dims - 1
    spatial = map(resized, source[channel + 1 :], shape[channel + 1 :])
    return (*source[:channel], axis(OTHER, shape[channel]), *spatial)


def sliding_dims(function: Any, source: Axes) -> int:
    """Return the number of trailing dimensions over which a function slides its window."""
    digits = [character for character in base_name(function) if character in "123"]
    named = int(digits[0]) if digits else len(source) - 2
    return max(min(named, len(source) - 1), 0)


def linear(call: FunctionCall) -> list[Axes]:
    source = call.source
    if source is None:
        return call.unknown()
    return [(*source[:-1], axis(OTHER, output.shape[-1])) for output in call.outputs]


def product(call: FunctionCall) -> list[Axes]:
    """A matrix product: the rows of the first tensor, the columns of the last."""
    tensors = call.tensors[-2:]
    if len(tensors) < 2 or any(tensor.dim() < 2 for tensor in tensors):
        return call.unknown()
    if call.name == "rmatmul":
        tensors.reverse()
    left, right = (call.known(tensor) or others(tensor.shape) for tensor in tensors)
    (output,) = call.outputs
    stacked = joined([left[:-2], right[:-2]], output.shape[:-2])
    return [(*stacked, left[-2], right[-1])]


def attention(call: FunctionCall) -> list[Axes]:
    """Attention: the result has the axes of the queries; the attention weights are unknown."""
    if not call.sources:
        return call.unknown()
    shape = call.outputs[0].shape
    query = call.known(call.tensors[0]) or others(shape)
    first = (*query[:-1], axis(OTHER, shape[-1]))
    if call.name == "scaled_dot_product_attention":
        # Learned queries have no axes of their own, but the examples of the keys and values.
        keys = [axes[:-2] for tensor in call.tensors[:3] if (axes := call.known(tensor))]
        first = (*joined(keys, shape[:-2]), *first[-2:])
    return [first, *(others(output.shape) for output in call.outputs[1:])]


def contracted(call: FunctionCall) -> list[Axes]:
    """Einsum by its equation: each letter is a dimension."""
    leaves = flat([call.args, call.kwargs])
    equation = next((leaf for leaf in leaves if isinstance(leaf, str)), "")
    left, arrow, right = equation.replace(" ", "").partition("->")
    tensors = call.tensors
    if not arrow or "." in equation or left.count(",") + 1 != len(tensors):
        return call.unknown()
    letters: dict[str, list[Axes]] = {}
    for names, tensor in zip(left.split(","), tensors, strict=True):
        for name, one in zip(names, call.known(tensor) or others(tensor.shape), strict=True):
            letters.setdefault(name, []).append((one,))
    (output,) = call.outputs
    axes = [
        joined(letters.get(name, []), [size])[0]
        for name, size in zip(right, output.shape, strict=True)
    ]
    return [tuple(axes)]


def reduced(call: FunctionCall) -> list[Axes]:
    source = call.source
    if source is None:
        return call.unknown()
    dims = _dims(call.args, call.kwargs, len(source))
    if dims is None:
        return alike(call)
    results = []
    for output in call.outputs:
        keepdim = output.dim() == len(source)
        left = [Axis() if dim in dims else one for dim, one in enumerate(source)]
        results.append(tuple(one for dim, one in enumerate(left) if keepdim or dim not in dims))
    return results


def _dims(args: Sequence[Any], kwargs: Mapping[str, Any], count: int) -> set[int] | None:
    """Return the dimensions that are reduced; `None` for the elementwise form of two tensors."""
    named = kwargs.get("dim", kwargs.get("axis"))
    rest = [argument for argument in args[1:] if not isinstance(argument, bool)]
    if named is None and rest:
        if isinstance(rest[0], Tensor):
            return None
        ints = [argument for argument in rest if isinstance(argument, (int, list, tuple))]
        named = ints[-1] if ints and not isinstance(rest[0], float) else None
    if named is None or named == []:
        return set(range(count))
    several = named if isinstance(named, (list, tuple)) else [named]
    return {dim % count for dim in several} if all(isinstance(d, int) for d in several) else None


def unfolded(call: FunctionCall) -> list[Axes]:
    """Windows of an image as columns: `(N, C · window, windows)`."""
    source = call.source
    names = ("input", "kernel_size", "dilation", "padding", "stride")
    given = {
        "dilation": 1,
        "padding": 0,
        "stride": 1,
        **dict(zip(names, call.args, strict=False)),
        **call.kwargs,
    }
    if source is not None and call.outputs[0].dim() == len(source) + 1:
        return [_along_one(source, call.outputs[0].shape, *_named(call.args, call.kwargs))]
    if source is None or len(source) != 4 or call.outputs[0].dim() != 3:
        return call.unknown()
    window, dilation, padding, stride = (_pair(given[name]) for name in names[1:])
    counts = [
        (one.size + 2 * padding[i] - dilation[i] * (window[i] - 1) - 1) // stride[i] + 1
        for i, one in enumerate(source[2:])
    ]
    digits = [resized(one, count).digits for one, count in zip(source[2:], counts, strict=True)]
    (output,) = call.outputs
    return [(source[0], axis(OTHER, output.shape[1]), Axis(digits[0] + digits[1]))]


def _named(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the dimension, size and step of the windows of `Tensor.unfold`."""
    names = ("dimension", "size", "step")
    given = {**dict(zip(names, args[1:], strict=False)), **kwargs}
    return given["dimension"], given["size"], given["step"]


def _along_one(source: Axes, shape: Sequence[int], dim: int, size: int, step: int) -> Axes:
    """Windows along one dimension, whose elements come last."""
    dim %= len(source)
    count = shape[dim]
    if size == step and count * size == source[dim].size:
        windows, inside = reshaped((source[dim],), (count, size))
    else:
        windows, inside = resized(source[dim], count), axis(OTHER, size)
    return (*source[:dim], windows, *source[dim + 1 :], inside)


def folded(call: FunctionCall) -> list[Axes]:
    """Columns of windows, folded back into an image."""
    source = call.source
    (output,) = call.outputs
    if source is None or len(source) != 3 or output.dim() != 4 or len(source[2].labels) != 2:
        return call.unknown()
    spatial = map(axis, source[2].labels, output.shape[2:])
    return [(source[0], axis(OTHER, output.shape[1]), *spatial)]


def _pair(value: Any) -> tuple[int, int]:
    first, *rest = value if isinstance(value, (tuple, list)) else (value,)
    return first, rest[0] if rest else first
