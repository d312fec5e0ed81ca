"""The CUDA kernels, compiled without a GPU, and the cache of their code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import refused

import torchattr as ta
from torchattr.core.cache_dir import read_whole
from torchattr.kernels.cuda import compile as cuda_compile
from torchattr.kernels.cuda.compile import SOURCES, Compiled, Nvrtc, find_nvrtc
from torchattr.kernels.cuda.launch import Kernel

PROBE = Kernel("gate", ("FLOAT32", "INDEX_BITS=32", "MASKED", "ALIGNED"))


def variants() -> list[Kernel]:
    """Return each kernel in each type, channel layout, memory layout and index type."""
    kernels = []
    for index in ("INDEX_BITS=32", "INDEX_BITS=64"):
        for kind in ("FLOAT32", "BFLOAT16", "FLOAT16"):
            runs = [kind, index, "ALIGNED"]
            affine = [["AFFINE", lie] for lie in ("ONE_CHANNEL", "ADJACENT_CHANNELS", "ANY")]
            forward = [[], ["STORES"], ["STORES", "BOUNDED"], *(["STORES", *one] for one in affine)]
            back = [["MASKED", "POSITIVE", *one] for one in ([], *affine)]
            kernels += [Kernel("rectify", (*runs, *extra)) for extra in forward]
            kernels += [Kernel("gate", (*runs, *extra)) for extra in back]
            kernels += pools(kind, index, 4 if kind == "FLOAT32" else 8)
    return [*kernels, Kernel("rectify", ("BOOL", "INDEX_BITS=32", "ALIGNED"))]


def pools(kind: str, index: str, vector: int) -> list[Kernel]:
    built_in = ["EXTENT=1,3,3", "STRIDE=1,2,2", "PADDING=0,1,1", "DILATION=1,1,1", "TELLS_OPEN"]
    last = ["CHANNELS_LAST", "VECTORISED", f"LANES={vector}"]
    rows = ["LANES=1", "TILE_H=2", f"TILE_W={vector}", "STORES_RUNS"]
    squares = [*last, "TILE_H=2", "TILE_W=2", "STORES_RUNS"]
    return [
        Kernel(name, (kind, index, *layout, *window))
        for window in (built_in, [])
        for name, layout in (
            *(("max_pool", [f"LANES={max(2, vector // 2)}"]), ("max_pool", last)),
            *(("unpool", rows), ("unpool", squares)),
        )
        if window or name == "max_pool"
    ]


class Reported(Kernel):
    """A kernel whose compiler reports registers and spills."""

    @property
    def options(self) -> list[str]:
        return [*super().options, "--ptxas-options=-v"]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_every_kernel_compiles_and_keeps_to_its_registers(nvrtc, architecture: str) -> None:
    for kernel in variants():
        log = nvrtc.compile(Reported(kernel.name, kernel.defines), architecture).log
        # The compiler may spare up to four registers itself, to fit one more block.
        spilled = re.findall(r"(\d+) bytes spill", log)
        assert len(spilled) in (0, 2), "some compilers say nothing where nothing is spilled"
        assert max(map(int, spilled), default=0) <= 16, f"{log} {kernel}"
        registers = int(re.findall(r"Used (\d+) registers", log)[0])
        # 32 let a multiprocessor hold all the threads that it can, 64 half of them.
        assert registers <= 64, f"{registers} registers: {kernel}"


@pytest.mark.slow
def test_vectors_move_in_single_instructions(nvrtc) -> None:
    for kernel in variants():
        text = nvrtc.compile(kernel, "compute_90").code.decode()
        loads = re.findall(r"ld\.global\S*\.v4\.\w32", text)
        stores = re.findall(r"st\.global\S*\.v4\.\w32", text)
        assert not re.search(r"\b(ld|st)\.local", text), kernel
        if kernel.name in ("rectify", "gate"):
            assert len(loads) >= 2, kernel
            assert len(stores) == (0 if not writes(kernel) else 2), kernel
        elif "VECTORISED" in kernel.defines:
            assert loads, kernel
            assert stores, kernel
        elif "STORES_RUNS" in kernel.defines:
            assert len(stores) == 2, kernel


def writes(kernel: Kernel) -> bool:
    return kernel.name == "gate" or "STORES" in kernel.defines


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")
@pytest.mark.parametrize("name", ["rectify", "gate", "max_pool", "unpool"])
def test_nvcc_compiles_too(name: str, tmp_path: Path) -> None:
    codes = ["arch=compute_80,code=sm_80", "arch=compute_90,code=[sm_90,compute_90]"]
    for number, kernel in enumerate(one for one in variants() if one.name == name):
        if "INDEX_BITS=64" in kernel.defines:
            continue
        command = ["nvcc", "-std=c++17", f"-I{SOURCES}", "-fatbin"]
        # nvcc takes a comma for the end of an option.
        command += [option.replace(",", "\\,") for option in kernel.options]
        command += [part for code in codes for part in ("-gencode", code)]
        command += ["-o", str(tmp_path / f"{number}.fatbin"), str(SOURCES / f"{name}.cu")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_device_gets_its_own_code_or_that_of_an_older_one(nvrtc) -> None:
    newest = nvrtc.architectures[-1]
    assert cuda_compile.architecture_for(nvrtc, (9, 0)) == "sm_90"
    assert cuda_compile.architecture_for(nvrtc, (99, 0)) == f"compute_{newest}"
    with refused(ta.BackendError, "compute capability", "5.2"):
        cuda_compile.architecture_for(nvrtc, (5, 2))


def test_what_does_not_compile_says_why(nvrtc) -> None:
    with refused(ta.BackendError, "'gate'", "no type of elements"):
        nvrtc.compile(Kernel("gate", ("INDEX_BITS=32",)), "sm_90")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    return tmp_path / "torchattr" / "kernels"


def test_code_is_compiled_once(nvrtc, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cuda_compile.compiled(nvrtc, PROBE, (9, 0))
    (kept,) = folder.iterdir()
    assert read_whole(kept) == first
    monkeypatch.setattr(Nvrtc, "compile", lambda *_: pytest.fail("compiled again"))
    assert cuda_compile.compiled(nvrtc, PROBE, (9, 0)) == first


def test_other_code_has_another_name(nvrtc, folder: Path) -> None:
    other = Kernel("gate", ("FLOAT32", "INDEX_BITS=64", "MASKED", "ALIGNED"))
    for kernel, capability in ((PROBE, (9, 0)), (PROBE, (8, 0)), (other, (9, 0))):
        cuda_compile.compiled(nvrtc, kernel, capability)
    assert len(list(folder.iterdir())) == 3


def test_a_folder_that_cannot_be_written_to_is_no_error(
    nvrtc, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("a file, where a folder should be")
    monkeypatch.setattr(Nvrtc, "compile", lambda *_: Compiled(b"code", ""))
    assert cuda_compile.compiled(nvrtc, PROBE, (9, 0)) == b"code"


def test_sources_are_in_the_package() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert '"torchattr.kernels.cuda" = ["csrc/*.cu", "csrc/*.cuh"]' in text
    assert {path.suffix for path in SOURCES.iterdir()} == {".cu", ".cuh"}


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    found = find_nvrtc()
    if found is None:
        pytest.skip("PyTorch comes without NVRTC here")
    return found
