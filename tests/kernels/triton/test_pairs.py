"""When two neighbours of a volume may be accessed as one, and that this changes no result."""

from __future__ import annotations

import pytest
import torch
from helpers import noise
from torch import Tensor

from torchattr.kernels import TorchBackend, Window

pytest.importorskip("triton.language")

from torchattr.kernels.triton import max_pool, unpool
from torchattr.kernels.triton.backend import TritonBackend
from torchattr.kernels.triton.pairs import are_paired, is_pair_aligned
from torchattr.kernels.triton.volumes import as_volume

TRITON, TORCH = TritonBackend(), TorchBackend()
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
WINDOWS = [
    Window((2, 2), (2, 2), (0, 0), (1, 1)),
    Window((3, 3), (2, 2), (1, 1), (1, 1)),
    Window((2, 3), (1, 2), (0, 1), (1, 2), True),
]


def room(offset: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return images at an offset in memory that is aligned."""
    return torch.empty(2 * 3 * 6 * 8 + 16, dtype=dtype)[offset:][: 2 * 3 * 6 * 8].view(2, 3, 6, 8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", range(16))
def test_pairs_are_aligned(offset: int, dtype: torch.dtype) -> None:
    assert is_pair_aligned(room(offset, dtype)) is (offset % 2 == 0)


def test_rows_of_pairs_are_even() -> None:
    x = as_volume(room(0), 2)
    assert are_paired(x[:, ::2])
    assert are_paired(x[..., 2:6])
    assert not are_paired(x[..., :7])
    assert not is_pair_aligned(x[..., 1:7])
    assert not are_paired(x[..., ::2])
    assert not are_paired(x.transpose(-1, -2))
    assert not are_paired(as_volume(torch.empty(2, 3, 6, 7), 2)[..., :6])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 1, 2])
def test_pools_of_pairs(
    monkeypatch: pytest.MonkeyPatch, window: Window, dtype: torch.dtype, offset: int
) -> None:
    x = room(offset, dtype).copy_(noise(2, 3, 6, 8).mul(2).round()).to(DEVICE)
    x[0, 0, 2, 3:5] = torch.tensor([torch.nan, -torch.inf])
    values, switches = TRITON.max_pool(x, window)
    expected, expected_switches = TORCH.max_pool(x, window)
    torch.testing.assert_close(values, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(switches, expected_switches)
    grad = noise(*values.shape, seed=2).mul(2).round().to(dtype).to(DEVICE)
    back = TRITON.unpool(grad, switches, x.shape, window)
    assert torch.equal(back, TORCH.unpool(grad, switches, x.shape, window))
    for module in (max_pool, unpool):
        monkeypatch.setattr(module, "are_paired", lambda volume: False)
        monkeypatch.setattr(module, "_plan", module._plan.__wrapped__)
    assert torch.equal(TRITON.max_pool(x, window)[1], switches)
    assert torch.equal(TRITON.unpool(grad, switches, x.shape, window), back)
