"""Reasons why the CUDA driver cannot launch kernels."""

from __future__ import annotations

import pytest
import torch

from torchattr.kernels import Request
from torchattr.kernels.cuda import driver as cuda_driver
from torchattr.kernels.cuda.backend import CudaBackend
from torchattr.kernels.cuda.driver import DriverLauncher

CPU = torch.device("cpu")


def test_a_missing_compiler_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "find_nvrtc", lambda: None)
    monkeypatch.setattr(cuda_driver, "_missing", cuda_driver._missing.__wrapped__)
    reasons = DriverLauncher().refusals(torch.device("cuda", 0))
    assert any("nvidia-cuda-nvrtc" in reason for reason in reasons)


def test_it_is_not_looked_for_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DriverLauncher, "refusals", lambda *_: pytest.fail("looked for a GPU"))
    assert not CudaBackend().is_offered(Request(CPU, torch.float32))
