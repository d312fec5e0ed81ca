"""Max-pools and back through them, in several programs and with 64-bit indices."""

from __future__ import annotations

import pytest
import torch
from helpers import noise
from torch import Tensor

from torchattr.kernels import TorchBackend, Window, order_of
from torchattr.kernels.triton import max_pool, unpool
from torchattr.kernels.triton.backend import TritonBackend

TRITON, TORCH = TritonBackend(), TorchBackend()


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


WINDOWS = [
    Window((3, 3), (2, 2), (1, 1), (1, 1), True),
    Window((2, 2), (2, 2), (0, 0), (1, 1)),
    Window((3, 2), (1, 3), (1, 0), (1, 2)),
    Window((9, 8), (4, 5), (4, 2), (1, 1)),
]


def pools_agree(x: Tensor, window: Window) -> None:
    values, switches = TRITON.max_pool(x, window)
    expected, expected_switches = TORCH.max_pool(x, window)
    assert torch.equal(values, expected)
    assert torch.equal(switches, expected_switches)
    assert order_of(values) == order_of(switches) == order_of(expected)
    grad = noise(*values.shape, seed=2, dtype=torch.float32).to(DEVICE)
    # Where windows overlap, the signals of one place may be added in any order.
    precise = grad.double()
    exact, sizes, counts = (
        TORCH.unpool(signal, switches, x.shape, window)
        for signal in (precise, precise.abs(), torch.ones_like(precise))
    )
    error = (counts - 1).clamp(0) * torch.finfo(grad.dtype).eps * sizes
    back = TRITON.unpool(grad, switches, x.shape, window)
    assert bool(((back - exact).abs() <= error).all())
    exact = TORCH.unpool_gated(precise, switches, x.shape, window, "guided")
    gated = TRITON.unpool_gated(grad, switches, x.shape, window, "guided")
    assert bool(((gated - exact).abs() <= error).all())


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("last", [False, True])
def test_pools_of_several_programs(window: Window, last: bool) -> None:
    x = noise(2, 2, 9, 140, dtype=torch.float32).to(DEVICE)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    pools_agree(x, window)


@pytest.mark.parametrize("last", [False, True])
def test_pools_in_64_bits(monkeypatch: pytest.MonkeyPatch, last: bool) -> None:
    monkeypatch.setattr(max_pool, "is_wide", lambda *tensors: True)
    monkeypatch.setattr(unpool, "is_wide", lambda *tensors: True)
    x = noise(2, 5, 17, 14, dtype=torch.float32).to(DEVICE)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    for window in WINDOWS[:3]:
        pools_agree(x, window)
