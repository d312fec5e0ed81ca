"""Boxes on the device."""

from __future__ import annotations

import torch
from patch_cases import cast
from torch import Tensor
from triton_cases import convolution, moved, patches

from torchattr.kernels.patches import Epilogue
from torchattr.kernels.reference.patches import TorchPatches
from torchattr.kernels.triton import lookup
from torchattr.kernels.triton.patches import TritonPatches

TRITON, REFERENCE = TritonPatches(), TorchPatches()


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def test_boxes_and_weights_are_prepared_once() -> None:
    x = cast(patches(40), torch.float32)
    conv = convolution("alone")
    kept: list[tuple[Tensor, ...]] = []
    for _ in range(2):
        TRITON.convolve(x, x.boxes, conv, Epilogue())
        found = lookup.lookup_of(x.boxes, DEVICE)
        kept.append((found.table, found.variants, *conv.packed.values()))
    assert all(one is other for one, other in zip(*kept, strict=True))
    assert kept[0][1].tolist() == x.boxes.positions[0].tolist()


def test_alignment_and_width_of_activations() -> None:
    x = cast(patches(40), torch.float32)
    assert lookup.are_aligned(x, None)
    assert not lookup.are_aligned(moved(x))
    assert not lookup.are_wide(x.clean.shape, x.changed.shape)
    assert lookup.are_wide(x.clean.shape, torch.Size((2**15, 2**10, 2**7, 1)))
