"""Errors that mean a lost GPU or exhausted memory, and what later calls say."""

from __future__ import annotations

import pytest
import torch
from helpers import refused

from torchattr.core import device_faults
from torchattr.core.device_faults import (
    is_lost,
    is_out_of_memory,
    lost_device_named,
    raise_if_lost,
    refuse_lost,
)
from torchattr.errors import DeviceLost

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
ILLEGAL = "CUDA error: an illegal memory access was encountered"


@pytest.fixture(autouse=True)
def working_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_faults, "_reported", [])


def test_signs_of_exhausted_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("anything"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(RuntimeError(ILLEGAL))


def test_signs_of_a_lost_gpu() -> None:
    assert is_lost(RuntimeError(ILLEGAL))
    assert is_lost(RuntimeError("the CUDA driver failed in cuLaunchKernel: misaligned address"))
    assert is_lost(DeviceLost("it is"))
    for innocent in ("CUDA error: out of memory", "shapes differ", "out of resource: registers"):
        assert not is_lost(RuntimeError(innocent))


@pytest.mark.parametrize("fails", [True, False])
def test_an_unclear_error_is_decided_by_a_call_that_does_nothing(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    def synchronize() -> None:
        if fails:
            raise RuntimeError("CUDA error: unknown error")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert is_lost(RuntimeError("CUDA error: invalid configuration argument")) == fails


def test_it_is_said_once_and_then_at_once() -> None:
    refuse_lost(GPU)
    with refused(DeviceLost, "context is lost", ILLEGAL, "estart the process"), lost_device_named():
        raise RuntimeError(f"{ILLEGAL}\nCUDA kernel errors might be reported later")
    with pytest.raises(DeviceLost, match="compute-sanitizer") as caught:
        refuse_lost(GPU)
    assert "might be reported" not in str(caught.value)
    assert caught.value.__cause__ is None
    refuse_lost(CPU)
    with refused(DeviceLost, ILLEGAL):
        raise_if_lost(RuntimeError("CUDA error: misaligned address"))


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), lost_device_named():
        raise RuntimeError("shapes differ")
    refuse_lost(GPU)
