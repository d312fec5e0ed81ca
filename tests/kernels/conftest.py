"""Every backend that can run here, for the tests of what all of them must do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from torchattr.kernels import Backend, Request, backends

NAMES = ("torch", "triton")


@dataclass(frozen=True)
class Bench:
    """A backend, and where its tensors must lie."""

    backend: Backend
    device: torch.device

    @property
    def dtypes(self) -> list[torch.dtype]:
        """Those that it serves, the reference float64, too."""
        every = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
        return [dtype for dtype in every if not self.backend.refusals(Request(self.device, dtype))]


@pytest.fixture(scope="module", params=NAMES)
def bench(request: pytest.FixtureRequest) -> Bench:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backend = backends()[request.param]
    reasons = backend.refusals(Request(device, torch.float32))
    if reasons:
        pytest.skip(f"{request.param}: {'; '.join(reasons)}")
    return Bench(backend, device)
