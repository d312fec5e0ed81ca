"""Where Triton can run."""

from __future__ import annotations

import pytest
import torch

from torchattr.kernels import Request, TorchBackend
from torchattr.kernels.triton import availability
from torchattr.kernels.triton.backend import TritonBackend

TRITON, TORCH = TritonBackend(), TorchBackend()


CPU = Request(torch.device("cpu"), torch.float32)


GPU = Request(torch.device("cuda"), torch.float32)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "is not installed (run: pip install"),
        ("3.1.0", "3.1.0 is older than 3.5 (run: pip install"),
        ("3.10.0+git1", None),
    ],
)
def test_what_is_installed(monkeypatch: pytest.MonkeyPatch, found, words) -> None:
    def version(name: str) -> str:
        if found is None:
            raise availability.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(availability, "version", version)
    reasons = availability.missing.__wrapped__()
    assert len(reasons) == (words is not None)
    assert words is None or words in reasons[0]


def test_old_gpus_and_missing_ones(compiling: pytest.MonkeyPatch) -> None:
    compiling.setattr(torch.cuda, "is_available", lambda: False)
    assert TRITON.refusals(GPU) == ["PyTorch sees no CUDA device"]
    compiling.setattr(torch.cuda, "is_available", lambda: True)
    compiling.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert TRITON.refusals(GPU) == ["cuda has compute capability 7.5, Triton needs 8.0"]
    assert not TRITON.is_offered(GPU)
    compiling.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert TRITON.refusals(GPU) == []
    assert TRITON.is_offered(GPU)


def test_the_interpreter_serves_the_cpu_only_for_who_asks(compiling: pytest.MonkeyPatch) -> None:
    assert "TRITON_INTERPRET=1" in TRITON.refusals(CPU)[0]
    compiling.setenv("TRITON_INTERPRET", "1")
    assert TRITON.refusals(CPU) == []
    assert not TRITON.is_offered(CPU)
    assert "not mps" in TRITON.refusals(Request(torch.device("mps"), torch.float32))[0]
