"""The compiled pools, against those of the reference."""

from __future__ import annotations

import pytest
import torch
from helpers import noise

from torchattr.errors import BackendError
from torchattr.kernels import TorchBackend
from torchattr.kernels.cpu import compile as cpu_compile
from torchattr.kernels.cpu.backend import CpuBackend
from torchattr.kernels.layout import Window

REFERENCE = TorchBackend()


def test_pools_that_do_not_compile_are_left_to_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(name: str) -> None:
        raise BackendError(f"no compiler for {name}")

    x, window = noise(2, 3, 6, 6, dtype=torch.float32), Window((2, 2), (2, 2), (0, 0), (1, 1))
    monkeypatch.setattr(cpu_compile, "shared_library", fails)
    cpu_compile.compiles.cache_clear()
    with pytest.warns(UserWarning, match="pools are left to the backend 'torch': no compiler"):
        values, switches = CpuBackend().max_pool(x, window)
    cpu_compile.compiles.cache_clear()
    expected = REFERENCE.max_pool(x, window)
    assert torch.equal(values, expected[0])
    assert torch.equal(switches, expected[1])


@pytest.mark.parametrize("last", [False, True])
def test_switches_that_no_pool_wrote_reach_no_other_picture(last: bool) -> None:
    x, window = noise(2, 3, 6, 6, dtype=torch.float32), Window((2, 2), (2, 2), (1, 1), (1, 1))
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    values, switches = CpuBackend().max_pool(x, window)
    grad = torch.ones_like(values)
    expected = CpuBackend().unpool(grad, switches, x.shape, window)[0]
    switches[1] = 127
    assert torch.equal(CpuBackend().unpool(grad, switches, x.shape, window)[0], expected)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "window",
    [
        Window((2, 2), (2, 2), (0, 0), (1, 1)),
        Window((3, 3), (2, 2), (1, 1), (1, 1)),
        Window((3, 3), (1, 1), (1, 1), (1, 1), ceil_mode=True),
        Window((3, 2), (3, 5), (0, 1), (2, 1)),
    ],
)
def test_pools_larger_than_a_vector_are_those_of_the_reference(window: Window, last: bool) -> None:
    x = noise(2, 70, 37, 45, dtype=torch.float32).relu()
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    results = []
    before = torch.get_num_threads()
    try:
        for threads, backend in ((1, REFERENCE), (1, CpuBackend()), (3, CpuBackend())):
            torch.set_num_threads(threads)
            values, switches = backend.max_pool(x, window)
            grad = noise(*values.shape, seed=2, dtype=torch.float32)
            ways = [
                backend.unpool_gated(grad, switches, x.shape, window, gate)
                for gate in ("gradient", "guided", "deconvolution")
            ]
            back = backend.unpool(grad, switches, x.shape, window)
            results.append([values, switches, back, *ways])
    finally:
        torch.set_num_threads(before)
    for reference, single, several in zip(*results, strict=True):
        assert torch.equal(single, reference)
        assert torch.equal(several, reference)
        assert several.is_contiguous(
            memory_format=torch.channels_last if last else torch.contiguous_format
        )
