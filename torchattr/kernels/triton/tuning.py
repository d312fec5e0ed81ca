"""The sizes of tiles and blocks, and the choice between them by measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from torchattr.kernels.triton.availability import interpreted

# Whether a product and a sum may be rounded once instead of twice.
OPTIONS = {"enable_fp_fusion": True}

LARGE = 2**24
"""From this number of elements on, measuring pays off: below, the launch dominates."""

UNROLLED_TURNS = 64
"""Loops of up to so many iterations are unrolled: 7 × 7, or 3 × 3 × 3, not 16 × 16."""

# Elements of a tile of rows and columns, and its widest row.
TILE, ROW = 512, 128

VOLUME_BYTES = 2048
"""Bytes of a tile of a channels-last volume: 16 for each thread, which it loads at once."""

ROWS = 512
"""Rows of a tile of any other volume."""

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Tile:
    """The elements of one program, for kernels that work on runs."""

    block: int
    warps: int

    def grid(self, elements: int) -> tuple[int]:
        return (-(-elements // self.block),)

    @property
    def options(self) -> dict[str, int | bool]:
        return {"BLOCK": self.block, "num_warps": self.warps, **OPTIONS}


# Eight elements a thread, which is 32 bytes in flight of float32, then more in different ways.
CHOICES = (Tile(1024, 4), Tile(2048, 8), Tile(2048, 4), Tile(4096, 8))


@dataclass(frozen=True)
class Block:
    """The part of a matrix product that one program computes; its depth is that of one step."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


# For tensor cores: 64 bytes of a row per step, or the whole row.
NARROW = (
    Block(64, 64, 32, 4, 4),
    Block(128, 64, 32, 4, 4),
    Block(128, 128, 32, 8, 4),
    Block(128, 128, 64, 8, 3),
)

# For exact float32 products: a thread's share of the sums must fit its registers.
EXACT = (
    Block(64, 64, 16, 8, 3),
    Block(64, 32, 16, 4, 3),
    Block(32, 64, 32, 4, 3),
    Block(128, 64, 16, 8, 3),
)


def is_worth_measuring(run: Tensor) -> bool:
    """Whether to measure tiles for a run."""
    return run.numel() >= LARGE and can_measure(run)


def can_measure(tensor: Tensor) -> bool:
    """Whether kernels can be timed; never during the capture of a CUDA graph."""
    on_gpu = tensor.is_cuda and not interpreted()
    return on_gpu and not torch.cuda.is_current_stream_capturing()


def fastest(milliseconds: Callable[[Choice], float], choices: Sequence[Choice]) -> Choice:
    """Return the choice that takes least time, or the first if measuring runs out of memory."""
    try:
        return min(choices, key=milliseconds)
    except torch.OutOfMemoryError:
        return choices[0]


def tile_shape(length: int, elements: int = TILE) -> tuple[int, int]:
    """Return height and width of tiles over rows of `length` elements: least waste, then widest."""
    widths = [2**power for power in range(3, ROW.bit_length())]
    columns = min(widths, key=lambda width: (-(-length // width) * width, -width))
    return max(1, elements // columns), columns
