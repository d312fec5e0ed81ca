"""The compiled CPU backend: what keeps it from serving, where its code is kept, its threads."""

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
from torchattr.kernels.layout import Window

CPU = torch.device("cpu")
REQUEST = Request(CPU, torch.float32)
REFERENCE = TorchBackend()

if CpuBackend().refusals(REQUEST):
    pytest.skip("; ".join(CpuBackend().refusals(REQUEST)), allow_module_level=True)


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Forget what is compiled; keep what will be in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = (cpu_compile.library, cpu_backend._missing, cpu_backend._has)
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
    assert "no c++ or g++ or clang++; install one" in refusal()
    x = noise(1, 3, 4, 4, dtype=torch.float32)
    method = ta.GuidedBackprop(lambda x: x.relu().flatten(1))
    assert method.attribute(x, target=1).shape == x.shape
    with ta.backend("cpu"), refused(BackendError, "'cpu' cannot serve", "C++ compiler"):
        method.attribute(x, target=1)


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize(
    ("name", "words"), [("no-such-compiler", "no no-such-compiler"), ("false", "fails: it says")]
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
    cpu_compile.library.cache_clear()
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


def test_pools_that_do_not_compile_are_left_to_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(name: str) -> None:
        raise BackendError(f"no compiler for {name}")

    x, window = noise(2, 3, 6, 6, dtype=torch.float32), Window((2, 2), (2, 2), (0, 0), (1, 1))
    monkeypatch.setattr(cpu_backend, "library", fails)
    cpu_backend._has.cache_clear()
    with pytest.warns(UserWarning, match="pools are left to the backend 'torch': no compiler"):
        values, switches = CpuBackend().max_pool(x, window)
    cpu_backend._has.cache_clear()
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
