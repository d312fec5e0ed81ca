"""Every backend that can run here, for the tests of what all of them must do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from host_launcher import HostLauncher

from torchattr.kernels import Backend, Request, backends
from torchattr.kernels.cuda_backend import CudaBackend

NAMES = tuple(backends())
"""All that are installed, those of other packages, too."""

# The sources of the CUDA kernels, compiled for the CPU: with windows as arguments, which one
# compilation serves, and with windows built in, one compilation each.
ON_HOST = {
    "cuda on the host": HostLauncher(widest=0),
    "cuda on the host, built in": HostLauncher(),
}
PARAMETERS = [
    *NAMES,
    "cuda on the host",
    pytest.param("cuda on the host, built in", marks=pytest.mark.slow),
]


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


@pytest.fixture(scope="module", params=PARAMETERS)
def bench(request: pytest.FixtureRequest) -> Bench:
    on_host = request.param in ON_HOST
    has_gpu = torch.cuda.is_available() and not on_host
    device = torch.device("cuda" if has_gpu else "cpu")
    backend = CudaBackend(ON_HOST[request.param]) if on_host else backends()[request.param]
    reasons = backend.refusals(Request(device, torch.float32))
    if reasons:
        pytest.skip(f"{request.param}: {'; '.join(reasons)}")
    return Bench(backend, device)
