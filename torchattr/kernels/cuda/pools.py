"""The variant of the CUDA pool kernels for a call, and its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from torchattr.kernels.cuda.launch import PLANS, Kernel, Launcher, LaunchPlan, divisor
from torchattr.kernels.layout import Window, channels_last, empty_in, pooled_shape

TYPES = {torch.float32: "FLOAT32", torch.bfloat16: "BFLOAT16", torch.float16: "FLOAT16"}
LIMIT = 2**31 - 2**16
"""Smaller indices, and what a thread adds to them, fit into 31 bits."""


def index_bits(*sizes: int) -> str:
    return f"INDEX_BITS={32 if max(sizes) < LIMIT else 64}"


def vector_of(dtype: torch.dtype) -> int:
    """Return the number of elements in 16 bytes."""
    return 16 // dtype.itemsize


def is_aligned(*tensors: Tensor) -> bool:
    return all(tensor.data_ptr() % 16 == 0 for tensor in tensors)


def has_channels_last(tensor: Tensor, spatial: int) -> bool:
    """Whether a dense tensor with a batch has memory order `[batch][spatial][channels]`."""
    if tensor.dim() != spatial + 2 or tensor.is_contiguous():
        return False
    return tensor.movedim(1, -1).is_contiguous()


def in_three(values: Sequence[int], fill: int) -> tuple[int, int, int]:
    """Pad to three dimensions with leading neutral values."""
    first, second, third = (*(fill,) * (3 - len(values)), *values)
    return first, second, third


class Windowed:
    """A window padded to three dimensions."""

    def __init__(self, window: Window) -> None:
        self.extent = in_three(window.extent, 1)
        self.stride = in_three(window.stride, 1)
        self.padding = in_three(window.padding, 0)
        self.dilation = in_three(window.dilation, 1)
        self.defines = ["TELLS_OPEN"] if window.tells_open else []
        self.defines += ["WIDE_SWITCH"] if window.switch_dtype == torch.int32 else []

    @property
    def argument(self) -> tuple[int, ...]:
        return (*self.extent, *self.stride, *self.padding, *self.dilation)

    @property
    def built_in(self) -> list[str]:
        settings = ("EXTENT", "STRIDE", "PADDING", "DILATION")
        values = (self.extent, self.stride, self.padding, self.dilation)
        return [
            f"{name}={','.join(map(str, of))}" for name, of in zip(settings, values, strict=True)
        ]

    @property
    def is_short(self) -> bool:
        """Whether all distances inside it fit 32 bits, as they must where it is built in."""
        settings = zip(self.extent, self.stride, self.padding, self.dilation, strict=True)
        return all(k * d + s + p < 2**30 for k, s, p, d in settings)

    def ends(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Return a bound of the positions of windows in each dimension, padding included."""
        padded = zip(in_three(sizes, 1), self.padding, strict=True)
        reach = zip(padded, self.extent, self.dilation, self.stride, strict=True)
        return tuple(n + 2 * p + k * d + s for (n, p), k, d, s in reach)

    def covering(self, d: int, tile: int) -> int:
        """Return how many windows can cover part of so many elements of one dimension."""
        span = self.dilation[d] * (self.extent[d] - 1) + tile
        return -(-span // self.stride[d]) + 1


class PoolPlan(NamedTuple):
    """A max-pool of inputs in one layout: its plan, and its results' shape and strides."""

    plan: LaunchPlan
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@lru_cache(maxsize=PLANS)
def pool_plan(
    launcher: Launcher,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: torch.dtype,
    aligned: bool,
    window: Window,
) -> PoolPlan:
    """Return the plan of a max-pool of an input with a batch and channels."""
    x = torch.empty_strided(shape, strides, dtype=dtype, device="meta")
    sizes = pooled_shape(shape, window)
    order = channels_last(x.dim()) if has_channels_last(x, x.dim() - 2) else tuple(range(x.dim()))
    output = empty_in(order, sizes, x)
    return PoolPlan(_pool_plan(launcher, x, output, aligned, window), sizes, output.stride())


def _pool_plan(
    launcher: Launcher, x: Tensor, output: Tensor, aligned: bool, window: Window
) -> LaunchPlan:
    spatial, windowed = x.dim() - 2, Windowed(window)
    last = has_channels_last(output, spatial)
    batch, channels = x.shape[:2]
    vector = vector_of(x.dtype)
    strides = (*x.stride()[:2], *in_three(x.stride()[2:], 0))
    takes_vectors = aligned and _has_bytes(window) and _takes_vectors(x, vector)
    vectorised = last and takes_vectors
    lanes = (vector if vectorised else 1) if last else max(2, vector // 2)
    groups = channels // lanes if last else channels
    outers = batch if last else -(-batch * channels // lanes)
    sizes = in_three(output.shape[2:], 1)
    threads = outers * prod(sizes) * (groups if last else 1)
    reach = sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True))
    # A window's start can lie beyond the memory that strides of 0 reach.
    reach = max(reach, *windowed.ends(x.shape[2:]))
    defines = [
        *(TYPES[x.dtype], index_bits(reach, output.numel(), threads * lanes), f"LANES={lanes}"),
        *windowed.defines,
        *(["CHANNELS_LAST"] if last else []),
        *(["VECTORISED"] if vectorised else []),
    ]
    if windowed.is_short and launcher.builds_in(window.elements * lanes):
        defines += windowed.built_in
    layout = (
        *in_three(x.shape[2:], 1),
        *(*strides, batch if last else batch * channels, threads),
        *(number for size in (*sizes, groups) for number in divisor(max(1, size))),
    )
    return LaunchPlan(Kernel("max_pool", tuple(defines)), threads, 3, layout, windowed.argument)


def _has_bytes(window: Window) -> bool:
    """Whether a vector of switches fits into one access."""
    return window.switch_dtype == torch.uint8


def _takes_vectors(x: Tensor, vector: int) -> bool:
    """Whether all vectors of adjacent channels begin at multiples of a vector."""
    others = [d for d, size in enumerate(x.shape) if size > 1 and d != 1]
    pitches = (x.stride(d) for d in others)
    in_vectors = x.shape[1] % vector == 0 and x.stride(1) == 1
    return in_vectors and all(pitch % vector == 0 for pitch in pitches)


@lru_cache(maxsize=PLANS)
def unpool_plan(
    launcher: Launcher,
    pooled: tuple[int, ...],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    last: bool,
    aligned: bool,
    window: Window,
    gates: Sequence[str],
) -> LaunchPlan:
    """Return the plan of an unpooling from shape `pooled` to `shape`, which have a batch.

    All tensors have the same layout: contiguous or, with `last`, channels last.
    """
    grad, result = (torch.empty(of, dtype=dtype, device="meta") for of in (pooled, shape))
    windowed = Windowed(window)
    vector, sizes = vector_of(result.dtype), in_three(result.shape[2:], 1)
    channels = result.shape[1] if last else 1
    outers = result.shape[0] if last else result.shape[0] * result.shape[1]
    takes_vectors = _has_bytes(window) and channels % vector == 0
    vectorised = last and takes_vectors and aligned
    lanes = vector if vectorised else 1
    tile = _tile(windowed, sizes, lanes, 1 if last else vector)
    work = windowed.extent[0] * prod(tile) * lanes
    work *= windowed.covering(1, 1) * windowed.covering(2, 1)
    built_in = windowed.is_short and launcher.builds_in(work // 2)
    tile = tile if built_in else (1, 1)
    runs = vectorised if last else tile[1] in _runs(sizes[2], vector)
    tiles = (sizes[0], -(-sizes[1] // tile[0]), -(-sizes[2] // tile[1]))
    threads = outers * prod(tiles) * (channels // lanes)
    index = index_bits(result.numel(), grad.numel(), *windowed.ends(result.shape[2:]))
    defines = [
        *(TYPES[result.dtype], index),
        *(f"LANES={lanes}", f"TILE_H={tile[0]}", f"TILE_W={tile[1]}", *windowed.defines, *gates),
        *(["CHANNELS_LAST"] if last else []),
        *(["VECTORISED"] if vectorised else []),
        *(["STORES_RUNS"] if runs else []),
        *(windowed.built_in if built_in else []),
    ]
    layout = (
        *(*sizes, *in_three(grad.shape[2:], 1), channels, threads),
        *(number for size in (*tiles, channels // lanes) for number in divisor(max(1, size))),
    )
    return LaunchPlan(Kernel("unpool", tuple(defines)), threads, 3, layout, windowed.argument)


def _tile(
    windowed: Windowed, sizes: tuple[int, int, int], lanes: int, widest: int
) -> tuple[int, int]:
    """Return a tile's height and width, each the stride or a multiple, or 1 for wide strides.

    In contiguous memory it is as wide as the widest store that divides the rows.
    """
    _, high, wide = windowed.stride
    runs = [size for size in _runs(sizes[2], widest) if size % wide == 0]
    width = runs[0] if runs else wide
    if width * lanes > 16:
        return 1, 1
    return (high if high * width * lanes <= 32 else 1), width


def _runs(row: int, widest: int) -> list[int]:
    """Return the numbers of elements that fit one store and divide a row."""
    return [size for size in (8, 4, 2) if size <= widest and row % size == 0]
