"""What tells launches of convolutions of patches apart: sizes, settings and precision."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from torchattr.kernels.patches import Convolution, Epilogue, Patches
from torchattr.kernels.triton.lookup import are_aligned, are_wide


class Kind(NamedTuple):
    """What a launch depends on.

    Attributes:
        sizes: those of output, weights, clean and changed pixels, and the same of the residual.
        window: extents, strides, paddings and dilations.
        fused: whether there are a bias and a residual.
        bounds: those of the clamp.
        aligned: whether activations are aligned for 16-byte loads.
        precision: that of float32 products.
    """

    sizes: tuple[torch.Size, ...]
    window: tuple[tuple[int, int], ...]
    groups: int
    fused: tuple[bool, bool]
    bounds: tuple[float, float]
    aligned: bool
    dtype: torch.dtype
    precision: str

    @property
    def depth(self) -> int:
        """The number of input channels of a group."""
        return self.sizes[1][1]

    @property
    def outputs(self) -> int:
        """The number of output channels of a group."""
        return self.sizes[1][0] // self.groups

    @property
    def taps(self) -> int:
        return prod(self.window[0])

    @property
    def images(self) -> tuple[int, ...]:
        """Heights and widths of the input and of the residual, which are the input's without."""
        return (*self.sizes[2][1:3], *self.sizes[4 if self.fused[1] else 2][1:3])

    @property
    def memory(self) -> tuple[bool, bool]:
        """Whether activations are aligned, and whether offsets need more than 32 bits."""
        return self.aligned, are_wide(*self.sizes)


def kind_of(x: Patches, conv: Convolution, epilogue: Epilogue, output: Tensor) -> Kind:
    """Return what the launch of a convolution depends on."""
    residual = epilogue.residual
    sizes = (output.shape, conv.weight.shape, x.clean.shape, x.changed.shape)
    return Kind(
        sizes if residual is None else (*sizes, residual.clean.shape, residual.changed.shape),
        (conv.extent, conv.stride, conv.padding, conv.dilation),
        conv.groups,
        (conv.bias is not None, residual is not None),
        (epilogue.lower, epilogue.upper),
        are_aligned(x, residual),
        output.dtype,
        precision_of(output.dtype),
    )


def precision_of(dtype: torch.dtype) -> str:
    """Return the precision of float32 products: TF32 only if PyTorch may use it, too."""
    if dtype != torch.float32:
        return "ieee"
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee"
