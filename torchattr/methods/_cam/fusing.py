"""One map of several layers: their mean, product or maximum, at the resolution of the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.errors import InputError, LayerError
from torchattr.methods._gradient.grids import enlarge, fits, from_0_to_1

Fusion = Literal["mean", "product", "max"]


def checked_fusion(fuse: Any) -> Fusion | None:
    """Return how maps of layers are fused.

    Raises:
        InputError: an unknown way.
    """
    if fuse is not None and fuse not in get_args(Fusion):
        raise InputError(
            f"fuse must be one of {', '.join(map(repr, get_args(Fusion)))}, or None for a map of"
            f" each layer, got {fuse!r}"
        )
    return fuse


def fused(maps: Mapping[str, Any], inputs: Inputs, fuse: Fusion) -> Tensor:
    """Return one map between 0 and 1, `(N, 1, ...)` of the input's size.

    The positive part of each layer's map is rescaled to [0, 1] for each example and enlarged; what
    is fused is rescaled again.

    Args:
        maps: the map of each layer.
        inputs: the model's inputs, the first of which with as many dimensions gives the size.
        fuse: how they are fused.

    Raises:
        LayerError: a layer with several maps.
        ShapeError: no input has as many spatial dimensions as a map.
    """
    sized = [_sized(name, one, inputs) for name, one in maps.items()]
    return from_0_to_1(_FUSIONS[fuse](torch.stack(sized)))


def _sized(name: str, one: Any, inputs: Inputs) -> Tensor:
    if not isinstance(one, Tensor):
        raise LayerError(
            f"layer {name!r} has several maps, of several calls or tensors, but fuse needs one of"
            " each layer; choose one call with calls, or a layer inside it"
        )
    sizes = [tensor.shape[2:] for tensor in inputs.tensors]
    size = next((size for size in sizes if fits(one, size)), sizes[0])
    return enlarge(from_0_to_1(one.relu()), size, mode_of(len(size)))


def mode_of(dimensions: int) -> str:
    """Return the linear mode of `F.interpolate` for a number of spatial dimensions."""
    return {1: "linear", 3: "trilinear"}.get(dimensions, "bilinear")


def _product(maps: Tensor) -> Tensor:
    return maps.prod(0)


def _mean(maps: Tensor) -> Tensor:
    return maps.mean(0)


def _max(maps: Tensor) -> Tensor:
    return maps.amax(0)


_FUSIONS: Mapping[Fusion, Callable[[Tensor], Tensor]] = {
    "mean": _mean,
    "product": _product,
    "max": _max,
}
