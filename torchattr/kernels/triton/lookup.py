"""How kernels find the pixels of patches: among the changed rows, or in the clean image.

A program works on some rows of an output's boxes. The variant of a row is looked up; its position
in the image follows from the variant's box. For each pixel of its window, the variant's box in the
input determines whether the pixel is changed or clean.

Boxes are `(rows, 1)` tensors in kernels, and positions are that or broadcast against it. An
activation is a tuple of its clean pixels, its changed ones and its boxes; its `size` is height and
width. `MEMORY` holds whether all activations are aligned for 16-byte loads, and whether the offset
of any of their elements needs more than 32 bits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchattr.kernels import patches
from torchattr.kernels.patches import Boxes, Patches
from torchattr.kernels.pointers import checked_run
from torchattr.kernels.triton.indexing import is_wide

IMAGE, TOP, LEFT, BOTTOM, RIGHT, START = (
    tl.constexpr(column)
    for column in (
        patches.IMAGE,
        patches.TOP,
        patches.LEFT,
        patches.BOTTOM,
        patches.RIGHT,
        patches.START,
    )
)
COLUMNS_OF_BOXES = tl.constexpr(6)


class Lookup(NamedTuple):
    """Boxes on a device: their table, and the variant of each row."""

    table: Tensor
    variants: Tensor


def lookup_of(boxes: Boxes, device: torch.device) -> Lookup:
    """Return boxes on a device, to which they are copied once."""
    if device not in boxes.packed:
        table, areas = (
            torch.from_numpy(tensor).to(device) for tensor in (boxes.table, boxes.areas)
        )
        numbers = torch.arange(len(boxes), dtype=torch.int32, device=device)
        variants = torch.repeat_interleave(numbers, areas, output_size=boxes.rows)
        boxes.packed[device] = Lookup(table, variants)
    lookup: Lookup = boxes.packed[device]
    return lookup


def source_of(x: Patches) -> tuple[Tensor, Tensor, Tensor]:
    """Return an activation in the form that kernels take."""
    clean = checked_run(x.clean, x.clean.numel())
    changed = checked_run(x.changed, x.boxes.rows * x.clean.shape[3])
    return clean, changed, lookup_of(x.boxes, x.clean.device).table


def are_wide(*sizes: torch.Size) -> bool:
    """Whether the offset of any element of runs of these sizes needs more than 32 bits."""
    return is_wide(*(torch.empty(size, device="meta") for size in sizes))


def are_aligned(*activations: Patches | None) -> bool:
    """Whether all of these activations are aligned for 16-byte loads."""
    tensors = [tensor for x in activations if x is not None for tensor in (x.clean, x.changed)]
    return all(tensor.data_ptr() % 16 == 0 for tensor in tensors)


@triton.jit
def locate_rows(row, rows, boxes):
    """Return variant, vertical and horizontal position of rows of boxes."""
    table, variants = boxes
    variant = tl.load(variants + row, row < rows, other=0)
    box = table + variant * COLUMNS_OF_BOXES
    left = tl.load(box + LEFT)
    within = (row - tl.load(box + START)).to(tl.int32)
    # Rows after the last read the box of variant 0, which may be empty.
    width = tl.maximum(tl.load(box + RIGHT) - left, 1).to(tl.int32)
    down = within // width
    along = within - down * width
    return variant, tl.load(box + TOP).to(tl.int32) + down, left.to(tl.int32) + along


@triton.jit
def boxes_in(x, size, variant, MEMORY: tl.constexpr):
    """Return the sides of variants' boxes in an activation, and the first pixel of their image."""
    box = x[2] + variant * COLUMNS_OF_BOXES
    start, image = tl.load(box + START), tl.load(box + IMAGE)
    if not MEMORY[1]:
        start, image = start.to(tl.int32), image.to(tl.int32)
    top, left = tl.load(box + TOP).to(tl.int32), tl.load(box + LEFT).to(tl.int32)
    bottom, right = tl.load(box + BOTTOM).to(tl.int32), tl.load(box + RIGHT).to(tl.int32)
    return top, left, bottom, right, start, image * size[0] * size[1]


@triton.jit
def pixels_at(x, size, box, down, along, channels, MEMORY: tl.constexpr):
    """Return pointers to the first channel of pixels, and which pixels are inside the image."""
    height, width = size
    top, left, bottom, right, start, image = box
    is_inside = (down >= 0) & (down < height) & (along >= 0) & (along < width)
    is_changed = (down >= top) & (down < bottom) & (along >= left) & (along < right)
    pixel = image + (down * width + along)
    row = start + ((down - top) * (right - left) + (along - left))
    first = tl.where(is_changed, x[1], x[0])
    if MEMORY[0]:
        # The compiler cannot infer the alignment through `where`, and would load single elements.
        first = tl.multiple_of(first, (16, 16))
    return first + tl.where(is_changed, row, pixel) * channels, is_inside


@triton.jit
def input_position(number, down, along, WINDOW: tl.constexpr):
    """Return the input position of element `number` of windows."""
    K: tl.constexpr = WINDOW[0]
    S: tl.constexpr = WINDOW[1]
    P: tl.constexpr = WINDOW[2]
    L: tl.constexpr = WINDOW[3]
    return (
        down * S[0] - P[0] + number // K[1] * L[0],
        along * S[1] - P[1] + number % K[1] * L[1],
    )
