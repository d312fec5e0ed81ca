"""What launches of convolutions depend on: precision, sizes, widths of offsets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from patch_cases import cast
from triton_cases import convolution, moved, patches

pytest.importorskip("triton.language")

from torchattr.kernels.patches import Convolution, Epilogue, Patches
from torchattr.kernels.triton.convolution_kinds import Kind, kind_of, precision_of


def test_float32_is_multiplied_as_pytorch_may_do_it() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "ieee"
        assert precision_of(torch.float32) == "ieee"
        matmul.fp32_precision = "tf32"
        assert precision_of(torch.float32) == "tf32"
        assert precision_of(torch.float16) == "ieee"
    finally:
        matmul.fp32_precision = before


def kind(
    x: Patches, conv: Convolution, epilogue: Epilogue | None = None, channels: int = 70
) -> Kind:
    output = torch.empty(x.boxes.rows, channels, device=x.clean.device)
    return kind_of(x, conv, epilogue or Epilogue(), output)


def test_everything_that_a_kernel_depends_on_is_told_apart() -> None:
    x, conv = cast(patches(20), torch.float32), convolution("many channels")
    residual = cast(patches(70, 6), torch.float32)
    kinds = [
        kind(x, conv),
        kind(x, replace(conv, bias=None)),
        kind(x, replace(conv, padding=(0, 0))),
        kind(x, conv, Epilogue(lower=0.0)),
        kind(x, conv, Epilogue(residual)),
        kind(x, conv, Epilogue(moved(residual))),
        kind(moved(x), conv),
    ]
    assert len(set(kinds)) == len(kinds)
    assert kind(x, conv) == kinds[0]
    assert [each.memory[0] for each in kinds] == [True] * 5 + [False] * 2
    assert kinds[4].images == (6, 9, 6, 9)
    assert (kinds[0].depth, kinds[0].outputs, kinds[0].taps) == (20, 70, 9)


@pytest.mark.parametrize("place", range(6))
def test_any_tensor_of_many_elements_needs_wide_offsets(place: int) -> None:
    x, residual = (cast(patches(channels), torch.float32) for channels in (20, 70))
    small = kind(x, convolution("many channels"), Epilogue(residual))
    assert not small.memory[1]
    for rows, wide in ((2**31 - 2**16 - 1, False), (2**31 - 2**16, True)):
        sizes = list(small.sizes)
        sizes[place] = torch.Size((rows, *(1,) * (len(sizes[place]) - 1)))
        assert small._replace(sizes=tuple(sizes)).memory[1] is wide
