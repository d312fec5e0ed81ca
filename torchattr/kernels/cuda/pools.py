"""The variant of the CUDA pool kernels for a call, and its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from torchattr.kernels.cuda.launch import Argument, Kernel, Launcher, Strided, divisor
from torchattr.kernels.layout import Window

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

    def ends(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Return a bound of the positions of windows in each dimension, padding included."""
        padded = zip(in_three(sizes, 1), self.padding, strict=True)
        reach = zip(padded, self.extent, self.dilation, self.stride, strict=True)
        return tuple(n + 2 * p + k * d + s for (n, p), k, d, s in reach)

    def covering(self, d: int, tile: int) -> int:
        """Return how many windows can cover part of so many elements of one dimension."""
        span = self.dilation[d] * (self.extent[d] - 1) + tile
        return -(-span // self.stride[d]) + 1


def pool_call(
    launcher: Launcher, x: Tensor, output: Tensor, switches: Tensor, window: Window
) -> tuple[Kernel, int, Sequence[Argument]]:
    """Return the kernel, threads and arguments of a max-pool; `x` has a batch and channels."""
    spatial, windowed = x.dim() - 2, Windowed(window)
    last = has_channels_last(output, spatial)
    batch, channels = x.shape[:2]
    vector = vector_of(x.dtype)
    strides = (*x.stride()[:2], *in_three(x.stride()[2:], 0))
    takes_vectors = _has_bytes(window) and channels % vector == 0 and _takes_vectors(x, vector)
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
    if launcher.builds_in(window.elements * lanes):
        defines += windowed.built_in
    shape = (
        *in_three(x.shape[2:], 1),
        *(*strides, batch if last else batch * channels, threads),
        *(number for size in (*sizes, groups) for number in divisor(size)),
    )
    kernel = Kernel("max_pool", tuple(defines))
    return kernel, threads, (Strided(x), output, switches, shape, windowed.argument)


def _has_bytes(window: Window) -> bool:
    """Whether a vector of switches fits into one access."""
    return window.switch_dtype == torch.uint8


def _takes_vectors(x: Tensor, vector: int) -> bool:
    moved = [s for n, s in zip(x.shape, x.stride(), strict=True) if n > 1]
    return is_aligned(x) and x.stride(1) == 1 and all(s % vector == 0 for s in moved if s != 1)


def unpool_call(
    launcher: Launcher,
    grad: Tensor,
    switches: Tensor,
    result: Tensor,
    last: bool,
    window: Window,
    gates: Sequence[str],
) -> tuple[Kernel, int, Sequence[Argument]]:
    """Return the kernel, threads and arguments of an unpooling.

    All tensors have the same layout: contiguous or, with `last`, channels last.
    """
    windowed = Windowed(window)
    vector, sizes = vector_of(result.dtype), in_three(result.shape[2:], 1)
    channels = result.shape[1] if last else 1
    outers = result.shape[0] if last else result.shape[0] * result.shape[1]
    takes_vectors = _has_bytes(window) and channels % vector == 0
    vectorised = last and takes_vectors and is_aligned(grad, switches)
    lanes = vector if vectorised else 1
    tile = _tile(windowed, sizes, lanes, 1 if last else vector)
    work = windowed.extent[0] * prod(tile) * lanes
    work *= windowed.covering(1, 1) * windowed.covering(2, 1)
    built_in = launcher.builds_in(work // 2)
    tile = tile if built_in else (1, 1)
    runs = vectorised if last else tile[1] in _runs(sizes[2], vector)
    tiles = (sizes[0], -(-sizes[1] // tile[0]), -(-sizes[2] // tile[1]))
    threads = outers * prod(tiles) * (channels // lanes)
    defines = [
        *(
            TYPES[result.dtype],
            index_bits(result.numel(), grad.numel(), *windowed.ends(result.shape[2:])),
        ),
        *(f"LANES={lanes}", f"TILE_H={tile[0]}", f"TILE_W={tile[1]}", *windowed.defines, *gates),
        *(["CHANNELS_LAST"] if last else []),
        *(["VECTORISED"] if vectorised else []),
        *(["STORES_RUNS"] if runs else []),
        *(windowed.built_in if built_in else []),
    ]
    shape = (
        *(*sizes, *in_three(grad.shape[2:], 1), channels, threads),
        *(number for size in (*tiles, channels // lanes) for number in divisor(size)),
    )
    kernel = Kernel("unpool", tuple(defines))
    return kernel, threads, (grad, switches, result, shape, windowed.argument)


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
