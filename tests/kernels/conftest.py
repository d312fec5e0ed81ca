"""Every backend that can run here, for the contract tests."""

from __future__ import annotations

import pytest
import torch
from bench import Bench
from host_launcher import HostLauncher

from torchattr.kernels import Request, backends
from torchattr.kernels.cuda.backend import CudaBackend

NAMES = tuple(backends())
"""All installed backends, including those of other packages."""

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
