"""Operations on patches by the compiled kernels: the choice of kernel and its arguments."""

from __future__ import annotations

import ctypes
from math import inf
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from torchattr.errors import BackendError
from torchattr.kernels.api import PatchOperations
from torchattr.kernels.cpu.compile import compiles, shared_library
from torchattr.kernels.patches import (
    BOTTOM,
    IMAGE,
    LEFT,
    RIGHT,
    START,
    TOP,
    Boxes,
    Convolution,
    Epilogue,
    Patches,
    Pooling,
)
from torchattr.kernels.pointers import address, run_of, table_address
from torchattr.kernels.reference.patches import TorchPatches

BLOCK = 56
"""Tiles that a thread transforms at once: they stay in its cache and reuse the loaded weights."""

MANY_WEIGHTS = 2**22
"""With more weights, a product with fewer rows than outputs does not pack them."""

_Pair = ctypes.c_int64 * 2


class CpuPatches(PatchOperations):
    """Serves float32; the reference serves other dtypes, and all of them if nothing compiles."""

    name: ClassVar[str] = "cpu"

    def __init__(self) -> None:
        self._reference = TorchPatches()

    def gather(self, x: Patches, boxes: Boxes) -> Tensor:
        return _gather(x, boxes) if _serves(x) else self._reference.gather(x, boxes)

    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue) -> Tensor:
        serving = _convolve if _serves(x) else self._reference.convolve
        return serving(x, boxes, conv, epilogue)

    def pool(self, x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
        return _pool(x, boxes, pooling) if _serves(x) else self._reference.pool(x, boxes, pooling)


def _serves(x: Patches) -> bool:
    return x.clean.dtype == torch.float32 and compiles("patches", "patches")


class _PatchesArgument(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("clean", "changed", "boxes")),
        *((name, ctypes.c_int64) for name in ("height", "width", "channels")),
    )


class _ResultArgument(ctypes.Structure):
    _fields_ = (
        ("boxes", ctypes.c_void_p),
        ("variants", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("result", ctypes.c_void_p),
    )


class _WindowArgument(ctypes.Structure):
    _fields_ = tuple((name, _Pair) for name in ("extent", "stride", "padding", "dilation"))


class _EpilogueArgument(ctypes.Structure):
    _fields_ = (
        ("bias", ctypes.c_void_p),
        ("residual", ctypes.c_void_p),
        ("lower", ctypes.c_float),
        ("upper", ctypes.c_float),
    )


def _argument(x: Patches) -> _PatchesArgument:
    images, height, width, channels = x.clean.shape
    return _PatchesArgument(
        _floats(x.clean, images * height * width * channels),
        _floats(x.changed, x.boxes.rows * channels),
        _boxes(x.boxes, images),
        *(height, width, channels),
    )


def _floats(tensor: Tensor, elements: int) -> int:
    return address(tensor, torch.float32, elements)


def _boxes(boxes: Boxes, images: int) -> int:
    """Return the address of a table of boxes, after a check that each is of one of the images."""
    if len(boxes) and not 0 <= int(boxes.table[:, IMAGE].max()) < images:
        raise BackendError(f"a box names an image that is not one of the {images} clean ones")
    return table_address(boxes.table, START + 1)


def _views(x: Patches, boxes: Boxes, result: Tensor) -> tuple[Any, Any]:
    address_of_boxes = _boxes(boxes, len(x.clean))
    into = _floats(result, boxes.rows * result.shape[1])
    target = _ResultArgument(address_of_boxes, len(boxes), boxes.rows, into)
    return ctypes.byref(_argument(x)), ctypes.byref(target)


def _window(sliding: Convolution | Pooling) -> _WindowArgument:
    sides = (sliding.extent, sliding.stride, sliding.padding, sliding.dilation)
    return _WindowArgument(*(_Pair(*side) for side in sides))


def _gather(x: Patches, boxes: Boxes) -> Tensor:
    if boxes == x.boxes:
        return x.changed
    result = x.changed.new_empty(boxes.rows, x.clean.shape[3])
    shared_library("patches").torchattr_gather(*_views(x, boxes, result), torch.get_num_threads())
    return result


def _convolve(x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue) -> Tensor:
    outputs = len(conv.weight)
    result = x.changed.new_empty(boxes.rows, outputs)
    if boxes.rows == 0:
        return result
    if _multiplies_reversed(x, boxes, conv, epilogue.residual):
        return _finished(_by_weights(x, conv), conv, epilogue)
    residual = None if epilogue.residual is None else _argument(epilogue.residual)
    # These variables keep alive the memory whose addresses compiled code receives.
    bias = None if conv.bias is None else run_of(conv.bias)
    argument = _EpilogueArgument(
        None if bias is None else _floats(bias, outputs),
        None if residual is None else ctypes.addressof(residual),
        epilogue.lower,
        epilogue.upper,
    )
    views = _views(x, boxes, result)
    if tuple(conv.weight.shape[:2]) == (conv.groups, 1) and conv.groups > 1:
        _depthwise(views, conv, argument)
    elif not (winograd_pays(boxes, conv) and _winograd(views, conv, argument)):
        _product(views, conv, argument)
    return result


def _pool(x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
    result = x.changed.new_empty(boxes.rows, x.clean.shape[3])
    shared_library("patches").torchattr_pool(
        *_views(x, boxes, result),
        ctypes.byref(_window(pooling)),
        pooling.maximum,
        pooling.counts_padding,
        pooling.divisor or 0,
        torch.get_num_threads(),
    )
    return result


def _multiplies_reversed(
    x: Patches, boxes: Boxes, conv: Convolution, residual: Patches | None
) -> bool:
    """Whether a product has few rows and more weights than should be packed."""
    plain = conv.extent == (1, 1) == conv.stride and conv.groups == 1 and conv.padding == (0, 0)
    few = boxes.rows < len(conv.weight) and conv.weight.numel() > MANY_WEIGHTS
    return plain and few and boxes == x.boxes and (residual is None or residual.boxes == boxes)


def _by_weights(x: Patches, conv: Convolution) -> Tensor:
    """Multiply with reversed roles: pack the rows, and read the weights in place, once."""
    rows, columns = x.changed, len(conv.weight)
    weights = conv.weight.reshape(columns, -1).contiguous()
    side = np.zeros(1, dtype=np.int64)
    boxes = Boxes.of(side, side, side, side + 1, side + columns)
    rows_of_weights = Patches(weights.reshape(1, 1, columns, -1), weights, boxes)
    reversed_conv = Convolution(rows[:, :, None, None], None)
    result = rows.new_empty(columns, len(rows))
    _product(
        _views(rows_of_weights, boxes, result),
        reversed_conv,
        _EpilogueArgument(None, None, -inf, inf),
    )
    return result.t().contiguous()


def _finished(result: Tensor, conv: Convolution, epilogue: Epilogue) -> Tensor:
    if conv.scale is not None:
        result *= conv.scale
    if conv.bias is not None:
        result += conv.bias
    if epilogue.residual is not None:
        result += epilogue.residual.changed
    return result.clamp_(epilogue.lower, epilogue.upper)


def winograd_pays(boxes: Boxes, conv: Convolution) -> bool:
    """Whether Winograd's filtering takes less time than the plain product, by operation count."""
    outputs, inputs, *extent = conv.weight.shape
    plain = (tuple(extent), conv.stride, conv.dilation, conv.groups)
    if plain != ((3, 3), (1, 1), (1, 1), 1) or min(inputs, outputs) < 16:
        return False
    points, tiles = _tiling(boxes)
    # In multiplications: a transform costs 160 per value, and weights are read four times as often.
    transforms = 160 * tiles * (inputs + outputs)
    direct = (9 * boxes.rows + 9 * 16) * inputs * outputs
    return (points + 36 * 16) * inputs * outputs + transforms < direct


def _tiling(boxes: Boxes) -> tuple[int, int]:
    """Return the number of points of all tiles that cover the boxes, and of tiles."""
    points, tiles = np.ones(len(boxes), dtype=np.int64), np.ones(len(boxes), dtype=np.int64)
    for low, high in ((TOP, BOTTOM), (LEFT, RIGHT)):
        whole, rest = np.divmod(boxes.table[:, high] - boxes.table[:, low], 4)
        points *= 6 * whole + np.where(rest > 0, rest + 2, 0)
        tiles *= whole + (rest > 0)
    return int(points.sum()), int(tiles.sum())


def _winograd(views: tuple[Any, Any], conv: Convolution, epilogue: _EpilogueArgument) -> bool:
    """Convolve by Winograd's filtering; false if a result is not finite and none can be used."""
    outputs, inputs = conv.weight.shape[:2]
    if "winograd" not in conv.packed:
        conv.packed["winograd"] = _filtered(conv)
    return bool(
        shared_library("patches").torchattr_winograd(
            *views,
            ctypes.byref(_window(conv)),
            outputs,
            _floats(conv.packed["winograd"], 36 * inputs * _padded(outputs)),
            ctypes.byref(epilogue),
            BLOCK,
            torch.get_num_threads(),
        )
    )


def _filtered(conv: Convolution) -> Tensor:
    """Return the weights transformed for Winograd's filtering."""
    outputs, inputs = conv.weight.shape[:2]
    weight, scale = run_of(conv.weight), _scale_of(conv)
    packed = weight.new_empty(36 * inputs * _padded(outputs))
    shared_library("patches").torchattr_pack_winograd(
        _floats(weight, outputs * inputs * 9),
        None if scale is None else _floats(scale, outputs),
        *(outputs, inputs, _floats(packed, len(packed)), torch.get_num_threads()),
    )
    return packed


def _product(views: tuple[Any, Any], conv: Convolution, epilogue: _EpilogueArgument) -> None:
    if "product" not in conv.packed:
        conv.packed["product"] = _panels(conv)
    panels = conv.packed["product"]
    shared_library("patches").torchattr_convolve(
        *views,
        ctypes.byref(_window(conv)),
        conv.groups,
        len(conv.weight),
        _floats(panels, _panel_elements(conv)),
        ctypes.byref(epilogue),
        torch.get_num_threads(),
    )


def _depthwise(views: tuple[Any, Any], conv: Convolution, epilogue: _EpilogueArgument) -> None:
    if "depthwise" not in conv.packed:
        conv.packed["depthwise"] = run_of(conv.scaled.weight[:, 0].permute(1, 2, 0))
    shared_library("patches").torchattr_depthwise(
        *views,
        ctypes.byref(_window(conv)),
        _floats(conv.packed["depthwise"], conv.weight.numel()),
        ctypes.byref(epilogue),
        torch.get_num_threads(),
    )


def _panels(conv: Convolution) -> Tensor:
    """Pack weights for products: for each group `(panel, taps × in, columns of the panel)`."""
    outputs, inputs, *extent = conv.weight.shape
    columns, taps = outputs // conv.groups, extent[0] * extent[1]
    weight, scale = run_of(conv.weight), _scale_of(conv)
    packed = weight.new_empty(conv.groups, _panel_elements(conv) // conv.groups)
    shared_library("patches").torchattr_pack_product(
        _floats(weight, outputs * inputs * taps),
        None if scale is None else _floats(scale, outputs),
        *(conv.groups, columns, inputs, taps),
        _floats(packed, packed.numel()),
        torch.get_num_threads(),
    )
    return packed


def _panel_elements(conv: Convolution) -> int:
    outputs, inputs, *extent = conv.weight.shape
    return conv.groups * _padded(outputs // conv.groups) * inputs * extent[0] * extent[1]


def _scale_of(conv: Convolution) -> Tensor | None:
    return None if conv.scale is None else run_of(conv.scale)


def _lanes() -> int:
    return int(shared_library("patches").torchattr_lanes())


def _padded(columns: int) -> int:
    lanes = _lanes()
    return (columns + lanes - 1) // lanes * lanes
