"""Launches of the convolutions of patches: weights laid out, blocks chosen and measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd, prod

import torch
import triton
import triton.testing
from torch import Tensor

from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches
from torchattr.kernels.pointers import checked_run, run_of
from torchattr.kernels.triton.backend import interpreted
from torchattr.kernels.triton.kernels.convolutions import depthwise_kernel, product_kernel
from torchattr.kernels.triton.kernels.indexing import UNIT, is_wide
from torchattr.kernels.triton.kernels.lookup import are_aligned, are_wide, lookup_of, source_of
from torchattr.kernels.triton.kernels.patches import TURNS
from torchattr.kernels.triton.kernels.tuning import OPTIONS, can_measure, fastest, tile_shape

FEW = 16
"""With fewer input channels than this, the least depth of a product, a step holds several taps."""

WORK = 2**30
"""From so many products of two numbers on it pays to measure blocks."""


@dataclass(frozen=True)
class Block:
    """The part of a product that a program makes, and how: its depth is that of one step."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


# What tensor cores multiply: 64 bytes of a row a step, or all of them.
NARROW = (
    Block(64, 64, 32, 4, 4),
    Block(128, 64, 32, 4, 4),
    Block(128, 128, 32, 8, 4),
    Block(128, 128, 64, 8, 3),
)

# Products of float32 as they are: a thread's part of the sums must fit its registers.
EXACT = (
    Block(64, 64, 16, 8, 3),
    Block(64, 32, 16, 4, 3),
    Block(32, 64, 32, 4, 3),
    Block(128, 64, 16, 8, 3),
)

_measured: dict[tuple[object, ...], Block] = {}


def convolve(x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue) -> Tensor:
    """Give the rows of `boxes`."""
    output = x.changed.new_empty(boxes.rows, len(conv.weight))
    if not output.numel():
        return output
    with torch.cuda.device_of(output):
        if conv.weight.shape[1] == 1 and len(conv.weight) == conv.groups:
            _depthwise(x, boxes, conv, after, output)
        else:
            _product(x, boxes, conv, after, output)
    return output


def _depthwise(
    x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue, output: Tensor
) -> None:
    rows, channels = output.shape
    tall, wide = tile_shape(channels)
    unit = gcd(channels, UNIT)
    depthwise_kernel[(-(-rows // tall) * -(-channels // wide),)](
        *_tensors(x, boxes, conv, after, output, together=1),
        (after.lower, after.upper),
        rows,
        channels // unit,
        WINDOW=_window(conv),
        UNROLLED=prod(conv.extent) <= TURNS,
        UNIT=unit,
        FUSED=(conv.bias is not None, after.residual is not None),
        MEMORY=_memory(x, boxes, conv, after, output),
        ROWS=tall,
        COLUMNS=wide,
        **OPTIONS,
    )


def _product(x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue, output: Tensor) -> None:
    outputs, inputs = len(conv.weight) // conv.groups, conv.weight.shape[1]
    units = gcd(inputs, UNIT), gcd(outputs, UNIT)
    tensors = _tensors(x, boxes, conv, after, output, together=conv.groups)
    precision = _precision(output.dtype)
    memory = _memory(x, boxes, conv, after, output)

    def launch(block: Block) -> None:
        columns = min(block.columns, _at_least_16(outputs))
        blocks = -(-len(output) // block.rows) * -(-outputs // columns)
        product_kernel[(blocks, conv.groups)](
            *tensors,
            (after.lower, after.upper),
            len(output),
            inputs // units[0],
            outputs // units[1],
            conv.groups,
            WINDOW=_window(conv),
            UNITS=units,
            SEVERAL=inputs < FEW,
            FUSED=(conv.bias is not None, after.residual is not None),
            PRECISION=precision,
            # The interpreter takes the bits of bfloat16 for integers.
            LIFTED=interpreted(),
            MEMORY=memory,
            BLOCK=(block.rows, columns, min(block.depth, _at_least_16(conv.weight[0].numel()))),
            num_warps=block.warps,
            num_stages=block.stages,
            **OPTIONS,
        )

    launch(_block_for(launch, conv, output, precision))


def _block_for(
    launch: Callable[[Block], None], conv: Convolution, output: Tensor, precision: str
) -> Block:
    """Give the block that is fastest for such a convolution, or for a small one the first."""
    exact = output.dtype == torch.float32 and precision == "ieee"
    choices = EXACT if exact else NARROW
    outputs, inputs = len(conv.weight) // conv.groups, conv.weight.shape[1]
    if output.numel() * conv.weight[0].numel() < WORK or not can_measure(output):
        return choices[0]
    widths = min(128, _at_least_16(outputs)), min(128, _at_least_16(inputs)), inputs < FEW
    kind = (output.device, output.dtype, precision, prod(conv.extent) == 1, *widths)
    if kind not in _measured:

        def milliseconds(block: Block) -> float:
            found: float = triton.testing.do_bench(lambda: launch(block), 5, 20)
            return found

        _measured[kind] = fastest(milliseconds, choices)
    return _measured[kind]


def _precision(dtype: torch.dtype) -> str:
    """Give how float32 is multiplied: rounded to TF32 only if PyTorch may do that, too."""
    allowed = torch.backends.cuda.matmul.fp32_precision == "tf32"
    return "tf32" if dtype == torch.float32 and allowed else "ieee"


def _tensors(
    x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue, output: Tensor, together: int
) -> tuple[object, ...]:
    """Give the arguments that both kernels begin with; what is not there is never looked at."""
    bias = output if conv.bias is None else checked_run(run_of(conv.bias), len(conv.weight))
    residual = x if after.residual is None else after.residual
    return (
        source_of(x),
        *x.clean.shape[1:3],
        source_of(residual),
        *residual.clean.shape[1:3],
        lookup_of(boxes, output.device),
        _laid_out(conv, together),
        bias,
        output,
    )


def _window(conv: Convolution) -> tuple[tuple[int, int], ...]:
    return conv.extent, conv.stride, conv.padding, conv.dilation


def _laid_out(conv: Convolution, groups: int) -> Tensor:
    """Lay the scaled weights as `(groups, taps, in, out)`, once; lone channels are one group."""
    if "taps first" not in conv.packed:
        _, inputs, *extent = conv.weight.shape
        grouped = conv.scaled.weight.reshape(groups, -1, inputs, prod(extent))
        conv.packed["taps first"] = run_of(grouped.permute(0, 3, 2, 1))
    found: Tensor = conv.packed["taps first"]
    return found


def _memory(
    x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue, output: Tensor
) -> tuple[bool, bool]:
    """Tell whether activations are aligned, and whether 32 bits are too few."""
    written = Patches(x.clean, output, boxes)
    wide = are_wide(x, after.residual, written) or is_wide(conv.weight)
    return are_aligned(x, after.residual), wide


def _at_least_16(number: int) -> int:
    """Give the next power of 2 that a product can have as a side."""
    return max(16, 1 << (number - 1).bit_length())
