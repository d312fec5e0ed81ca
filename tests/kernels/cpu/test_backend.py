"""The compiled CPU backend: its refusals, its code cache and its threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import noise, refused

import torchattr as ta
from torchattr.errors import BackendError
from torchattr.kernels import Request, TorchBackend, backends
from torchattr.kernels.cpu import backend as cpu_backend
from torchattr.kernels.cpu import compile as cpu_compile
from torchattr.kernels.cpu.backend import CpuBackend

CPU = torch.device("cpu")
REQUEST = Request(CPU, torch.float32)
REFERENCE = TorchBackend()

if CpuBackend().refusals(REQUEST):
    pytest.skip("; ".join(CpuBackend().refusals(REQUEST)), allow_module_level=True)


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Forget the compiled libraries, and cache the next ones in a new folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = (cpu_compile.shared_library, cpu_backend._missing, cpu_compile.compiles)
    for one in kept:
        one.cache_clear()
    yield tmp_path / "torchattr" / "kernels"
    for one in kept:
        one.cache_clear()


def refusal() -> str:
    (reason,) = CpuBackend().refusals(REQUEST)
    return reason


def test_gives_every_reason() -> None:
    reasons = CpuBackend().refusals(Request(torch.device("cuda"), torch.bfloat16))
    assert reasons == [
        "it runs on the CPU, not on cuda",
        "it serves float32, not bfloat16",
    ]


@pytest.mark.usefixtures("anew")
def test_no_compiler_is_a_refusal_and_another_backend_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "c++ or g++ or clang++ was not found; install one" in refusal()
    x = noise(1, 3, 4, 4, dtype=torch.float32)
    method = ta.GuidedBackprop(lambda x: x.relu().flatten(1))
    assert method.attribute(x, target=1).shape == x.shape
    with ta.backend("cpu"), refused(BackendError, "'cpu' cannot serve", "C++ compiler"):
        method.attribute(x, target=1)


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize(
    ("name", "words"),
    [("no-such-compiler", "no-such-compiler was not found"), ("false", "fails: no output")],
)
def test_a_compiler_that_cannot_is_named(
    name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", name)
    assert words in refusal()


@pytest.mark.usefixtures("anew")
def test_no_other_system_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert refusal() == "its kernels are compiled on Linux only, not on win32"


def test_compiles_once_for_all_processes(anew: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not CpuBackend().refusals(REQUEST)
    (kept,) = anew.iterdir()
    assert kept.name.startswith("rectifier-")
    cpu_compile.shared_library.cache_clear()
    cpu_backend._missing.cache_clear()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert not CpuBackend().refusals(REQUEST)


def test_a_cache_that_cannot_be_written_to_is_no_hindrance(
    anew: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file where the folder should be stops root, too.
    anew.parent.parent.mkdir(exist_ok=True)
    anew.parent.write_text("")
    assert not CpuBackend().refusals(REQUEST)
    assert not anew.exists()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("elements", [2**15 + 1, 2**17 + 8195])
@pytest.mark.parametrize("gate", ["gradient", "guided", "deconvolution"])
def test_blocks_and_threads_share_the_work(threads: int, elements: int, gate: str) -> None:
    before = torch.get_num_threads()
    x, grad = (noise(1, 5, elements, seed=seed, dtype=torch.float32) for seed in (1, 2))
    scale = noise(5, seed=3, dtype=torch.float32)
    torch.set_num_threads(threads)
    try:
        backend = CpuBackend()
        y, mask = backend.relu(x, 1.5)
        gated = backend.relu_backward(grad, mask, (0, 1, 2), gate)
        scaled = backend.batch_norm_relu_backward(grad, mask, scale, (0, 2, 1), gate)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(y, x.clamp(0, 1.5))
    assert torch.equal(mask, REFERENCE.relu(x, 1.5)[1])
    assert torch.equal(gated, REFERENCE.relu_backward(grad, mask, (0, 1, 2), gate))
    last = REFERENCE.batch_norm_relu_backward(grad, mask, scale, (0, 2, 1), gate)
    assert torch.equal(scaled, last)


def test_it_is_taken_for_float32_on_cpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.dtype] = []
    serve = CpuBackend.relu

    def noted(self, x, *rest, **more):
        taken.append(x.dtype)
        return serve(self, x, *rest, **more)

    monkeypatch.setattr(CpuBackend, "relu", noted)
    for dtype in (torch.float32, torch.float64):
        x = noise(1, 8, dtype=dtype)
        ta.GuidedBackprop(lambda x: x.relu()).attribute(x, target=1)
    assert taken == [torch.float32]
    assert list(backends()).index("cpu") < list(backends()).index("torch")


def test_importing_compiles_nothing(tmp_path: Path) -> None:
    code = "import torchattr, torchattr.kernels.cpu.backend, torchattr.methods"
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.rglob("*.so"))
