"""Launches: what tells compiled kernels apart, and that the direct way is Triton's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton.language")

import triton
from triton import knobs

from torchattr.kernels.triton import launch as module
from torchattr.kernels.triton.availability import NEWEST, release
from torchattr.kernels.triton.launch import Launch


class Kernel:
    """A kernel that notes by which way it is launched."""

    arg_names = ("x", "y", "n", "FLAG", "BLOCK")
    compiles = True

    def __init__(self) -> None:
        self.pre_run_hooks: list[object] = []
        self.ways: list[str] = []
        self.arguments: tuple[Any, ...] = ()

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        assert grid == (4, 1, 1)

        def by_triton(*arguments: Any, **constants: Any) -> Any:
            self._note("triton", *arguments, *(constants[name] for name in ("FLAG", "BLOCK")))
            return Compiled(self) if self.compiles else None

        return by_triton

    def _note(self, way: str, *arguments: Any) -> None:
        self.ways.append(way)
        self.arguments = arguments


class Compiled:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        assert grid == (4, 1, 1)
        return lambda *arguments: self.kernel._note("direct", *arguments)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(module, "_starts_alone", lambda compiled: isinstance(compiled, Compiled))
    return Kernel()


def launch_of(kernel: Kernel) -> Launch:
    return Launch(kernel, (4,), (7,), BLOCK=64, FLAG=True, num_warps=4)


ROOM = torch.empty(256)


def test_the_second_launch_is_direct_and_passes_the_same(kernel: Kernel) -> None:
    launch, passed = launch_of(kernel), []
    for _ in range(3):
        launch(ROOM[:64], ROOM[64:])
        passed.append(kernel.arguments)
    assert kernel.ways == ["triton", "direct", "direct"]
    for arguments in passed:
        assert [t.data_ptr() for t in arguments[:2]] == [ROOM.data_ptr(), ROOM[64:].data_ptr()]
        assert arguments[2:] == (7, True, 64)


ALIGNED = ROOM[:64]
OTHERS = {
    "the first is not aligned": (ROOM[1:65], ALIGNED),
    "the second is not aligned": (ALIGNED, ROOM[2:66]),
    "of another dtype": (ALIGNED.view(torch.int32), ALIGNED),
    "of another dtype of that size": (ALIGNED, ALIGNED.view(torch.uint32)),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_other_tensors_have_a_kernel_of_their_own(
    kernel: Kernel, other: tuple[Tensor, Tensor]
) -> None:
    launch = launch_of(kernel)
    for tensors in [(ALIGNED, ALIGNED), other] * 2:
        launch(*tensors)
    assert kernel.ways == ["triton", "triton", "direct", "direct"]


def test_alignment_is_that_of_16_bytes(kernel: Kernel) -> None:
    launch = launch_of(kernel)
    bytes_of_room = ROOM.view(torch.uint8)
    for start in range(32):
        launch(bytes_of_room[start:], ALIGNED)
        assert kernel.ways.pop() == ("triton" if start < 2 else "direct")


def test_each_device_has_a_kernel_of_its_own(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []

    class Device:
        def __init__(self, device: int) -> None:
            self.device = device

        def __enter__(self) -> None:
            entered.append(self.device)

        def __exit__(self, *error: object) -> None:
            entered.append(-1)

    class Placed(Tensor):
        device_index: int

        def get_device(self) -> int:
            return self.device_index

    def placed(device: int) -> Tensor:
        tensor = ALIGNED.as_subclass(Placed)
        tensor.device_index = device
        return tensor

    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device", Device)
    launch = launch_of(kernel)
    for device in (0, 1, 0, 1):
        launch(placed(device), ALIGNED)
    assert kernel.ways == ["triton", "triton", "direct", "direct"]
    assert entered == [1, -1] * 2, "another device is current while its kernel is launched"


def test_settings_of_triton_are_heeded(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = launch_of(kernel)
    launch(ALIGNED, ALIGNED)
    monkeypatch.setattr(knobs.runtime, "debug", not knobs.runtime.debug)
    launch(ALIGNED, ALIGNED)
    launch(ALIGNED, ALIGNED)
    assert kernel.ways == ["triton", "triton", "direct"]
    kernel.pre_run_hooks.append(print)
    launch(ALIGNED, ALIGNED)
    assert kernel.ways.pop() == "triton"
    kernel.pre_run_hooks.clear()
    monkeypatch.setattr(knobs.runtime, "add_stages_inspection_hook", print, raising=False)
    launch(ALIGNED, ALIGNED)
    assert kernel.ways.pop() == "triton"


def test_triton_launches_what_cannot_start_alone(kernel: Kernel) -> None:
    kernel.compiles = False
    launch = launch_of(kernel)
    for _ in range(2):
        launch(ALIGNED, ALIGNED)
    assert kernel.ways == ["triton"] * 2


def compiled(backend: str) -> module.CompiledKernel:
    found = object.__new__(module.CompiledKernel)
    found.module = None
    found.metadata = SimpleNamespace(target=SimpleNamespace(backend=backend))
    return found


def test_which_kernels_start_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._starts_alone(compiled("cuda"))
    assert not module._starts_alone(compiled("hip"))
    assert not module._starts_alone(None)
    monkeypatch.setattr(module, "_is_known_version", lambda: False)
    assert not module._starts_alone(compiled("cuda"))


def test_the_installed_triton_is_known() -> None:
    assert release(triton.__version__) <= NEWEST, "read its CompiledKernel, then raise NEWEST"


RUNS = {"rectify_kernel", "gate_kernel"}
POOLS = {"max_pool_kernel", "unpool_kernel"}
PATCHES = {"gather_kernel", "pool_kernel", "product_kernel", "depthwise_kernel"}


@pytest.mark.parametrize(
    ("extent", "kernels"),
    [("few", RUNS), pytest.param("every", RUNS | POOLS | PATCHES, marks=pytest.mark.slow)],
)
def test_direct_launches_are_those_of_triton(
    tmp_path: Path, extent: str, kernels: set[str]
) -> None:
    script = Path(__file__).parents[1] / "support" / "triton_launches.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), extent],
        env={**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = found["rows"]
    assert {row["kernel"] for row in rows} == kernels
    assert all(row["same"] for row in rows)
    assert len({row["function"] for row in rows}) > 5 * len(kernels) // 2
    assert (found["first"], found["second"]) == (len(rows), 0)
