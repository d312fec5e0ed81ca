"""The reference backend: both its packing algorithms, and that it is always available."""

from __future__ import annotations

import pytest
import torch
from helpers import noise

from torchattr.kernels import Request, TorchBackend, Window
from torchattr.kernels.layout import pooled_with_indices
from torchattr.kernels.reference.backend import _numpy_serves, _pack_numpy, _pack_torch


@pytest.mark.parametrize("upper", [None, 2.0])
@pytest.mark.parametrize("elements", [0, 1, 7, 8, 9, 63, 64, 1000])
def test_both_ways_to_pack_agree(elements: int, upper: float | None) -> None:
    run = noise(elements, seed=3).mul(2).round()
    assert torch.equal(_pack_numpy(run, upper), _pack_torch(run, upper))
    assert _numpy_serves(run)
    assert not _numpy_serves(run.bfloat16())


def test_windows_of_more_places_than_a_byte_counts() -> None:
    x = torch.arange(600.0).view(1, 1, 600)
    window = Window((257,), (100,), (0,), (1,))
    values, switches = TorchBackend().max_pool(x, window)
    assert switches.dtype == torch.int32
    assert set(switches.flatten().tolist()) == {256}
    result = TorchBackend().unpool(torch.ones_like(values), switches, x.shape, window)
    indices = pooled_with_indices(x, window)[1]
    assert result.flatten().nonzero().flatten().tolist() == indices.flatten().tolist()


def test_the_reference_refuses_nothing() -> None:
    for device in ("cpu", "cuda", "mps", "meta"):
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            assert TorchBackend().refusals(Request(torch.device(device), dtype)) == []
