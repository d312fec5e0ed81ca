"""The ReLU kernels: runs of several programs, channels beyond 32 bits, measured tiles."""

from __future__ import annotations

import pytest
import torch
from helpers import noise

from torchattr.kernels import TorchBackend, order_of
from torchattr.kernels.triton import rectifier
from torchattr.kernels.triton.backend import TritonBackend
from torchattr.kernels.triton.tuning import CHOICES

TRITON, TORCH = TritonBackend(), TorchBackend()


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("elements", [1024, 1025, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_runs_of_several_programs(elements: int, dtype: torch.dtype) -> None:
    x = noise(elements).to(dtype).to(DEVICE)
    y, mask = TRITON.relu(x, 1.0)
    expected, expected_mask = TORCH.relu(x, 1.0)
    assert torch.equal(y, expected)
    assert torch.equal(mask, expected_mask)
    back = TRITON.relu_backward(x, mask, (0,), "guided")
    assert torch.equal(back, TORCH.relu_backward(x, mask, (0,), "guided"))


@pytest.mark.parametrize("last", [False, True])
def test_channels_of_more_elements_than_a_piece(
    monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    x, grad = (noise(3, 5, 9, 7, seed=seed).float().to(DEVICE) for seed in (1, 2))
    if last:
        x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
    scale, shift = (noise(5, seed=seed).float().to(DEVICE) for seed in (3, 4))
    whole = TRITON.batch_norm_relu(x, scale, shift)
    back = TRITON.batch_norm_relu_backward(grad, whole[1], scale, order_of(x), "guided")
    monkeypatch.setattr(rectifier, "CHUNK", 328)
    for plan in ("_rectifications", "_gatings"):
        monkeypatch.setattr(rectifier, plan, getattr(rectifier, plan).__wrapped__)
    y, mask = TRITON.batch_norm_relu(x, scale, shift)
    assert torch.equal(y, whole[0])
    assert torch.equal(mask, whole[1])
    pieces = TRITON.batch_norm_relu_backward(grad, mask, scale, order_of(x), "guided")
    assert torch.equal(pieces, back)
    monkeypatch.setattr(rectifier, "serves", lambda elements, period: False)
    torch.testing.assert_close(TRITON.batch_norm_relu(x, scale, shift)[0], y)


def test_the_fastest_tile_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([3.0, 1.0, 2.0, 4.0])

    def do_bench(launch, warmup: int, rep: int) -> float:
        launch()
        return next(times)

    monkeypatch.setattr(rectifier, "LARGE", 4096)
    monkeypatch.setattr(rectifier.triton.testing, "do_bench", do_bench)
    rectifier.tile_for.cache_clear()
    try:
        assert rectifier.tile_for(torch.float16, DEVICE, False) == CHOICES[0]
        assert rectifier.tile_for(torch.float16, DEVICE, True) == CHOICES[1]
        assert rectifier.tile_for(torch.float16, DEVICE, True) == CHOICES[1]
    finally:
        rectifier.tile_for.cache_clear()
