"""The CUDA kernels: compiled for GPUs, run on the host, and what the backend says without one.

What they compute is tested by `test_contract.py`, on the host everywhere and on a GPU where one is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import noise, refused
from host_launcher import SANITIZERS, HostLauncher
from oracles import naive_mask, naive_max_pool, naive_relu_backward, naive_unpool
from test_contract import channels_last, same

import torchattr as ta
from torchattr.core.cache_dir import read_whole
from torchattr.kernels import Request, Window, backends
from torchattr.kernels.cuda import compile as cuda_compile
from torchattr.kernels.cuda.backend import CudaBackend
from torchattr.kernels.cuda.compile import SOURCES, Compiled, Nvrtc, find_nvrtc
from torchattr.kernels.cuda.driver import DriverLauncher
from torchattr.kernels.cuda.launch import Kernel, divisor
from torchattr.kernels.layout import order_of

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
PROBE = Kernel("gate", ("FLOAT32", "INDEX_BITS=32", "MASKED", "ALIGNED"))
WINDOWS = {
    "2x2": Window((2, 2), (2, 2), (0, 0), (1, 1)),
    "3x3 by 2": Window((3, 3), (2, 2), (1, 1), (1, 1)),
    "3x3 by 1": Window((3, 3), (1, 1), (1, 1), (1, 1)),
    "3 by 3": Window((3,), (3,), (0,), (1,)),
    "3x3 by 3, dilated": Window((3, 2), (3, 3), (1, 0), (2, 2)),
    "1d": Window((3,), (2,), (1,), (1,)),
    "3d": Window((2, 3, 3), (2, 2, 2), (0, 1, 1), (1, 1, 1)),
    "wide": Window((16, 16), (4, 4), (0, 0), (1, 1)),
    "two bytes": Window((17, 16), (8, 8), (0, 0), (1, 1)),
}


@pytest.fixture
def host() -> CudaBackend:
    backend = CudaBackend(HostLauncher())
    reasons = backend.refusals(Request(CPU, torch.float32))
    if reasons:
        pytest.skip("; ".join(reasons))
    return backend


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    found = find_nvrtc()
    if found is None:
        pytest.skip("PyTorch comes without NVRTC here")
    return found


def used_by(backend: CudaBackend) -> list[Kernel]:
    launcher = backend._launcher
    assert isinstance(launcher, HostLauncher)
    return launcher.launched


def values(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return noise(*shape, seed=seed).mul(2).round().to(dtype)


# On the host: what small tensors of the contract do not reach


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [255, 256, 257, 511, 512, 513, 4097, 9000])
@pytest.mark.parametrize("offset", [0, 1, 4])
def test_runs_of_many_tiles_wherever_they_begin(host, dtype, count, offset) -> None:
    x = values(count + offset, dtype=dtype)[offset:]
    grad = values(count + offset, dtype=dtype, seed=1)[offset:]
    y, mask = host.relu(x, 2.0)
    assert same(y, x.clamp(0, 2))
    assert mask.tolist() == naive_mask(y, 2.0)
    assert host.pack_mask(y, (0,), 2.0).equal(mask)
    back = host.relu_backward(grad, mask, (0,), "guided")
    assert same(back, naive_relu_backward(grad, (y > 0) & (y < 2), "guided"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 16, 9, 8), (2, 7, 31, 3), (700, 12), (2, 5, 300)], ids=str)
@pytest.mark.parametrize("last", [False, True])
def test_channels_of_each_lie(host, dtype, shape, last) -> None:
    x, grad = values(*shape, dtype=dtype), values(*shape, dtype=dtype, seed=1)
    x = channels_last(x) if last else x
    # Small integers: no product and no sum is rounded.
    scale, shift = values(shape[1], seed=2), values(shape[1], seed=3)
    along = (-1, *(1,) * (len(shape) - 2))
    y, mask = host.batch_norm_relu(x, scale, shift)
    assert same(y, (x * scale.view(along) + shift.view(along)).relu().to(dtype))
    assert mask.tolist() == naive_mask(y)
    back = host.batch_norm_relu_backward(grad, mask, scale, order_of(y), "gradient")
    assert same(back, (grad.where(y > 0, 0) * scale.view(along)).to(dtype))


def test_each_lie_of_channels_has_its_variant(host) -> None:
    scale = values(16)
    for x in (values(2, 16, 4, 4), channels_last(values(2, 16, 4, 4)), values(2, 15, 3)):
        host.batch_norm_relu(x, scale[: x.shape[1]].clone(), scale[: x.shape[1]].clone())
    lies = [
        [one for one in kernel.defines if one.endswith(("_CHANNEL", "_CHANNELS"))]
        for kernel in used_by(host)
    ]
    assert lies == [["ONE_CHANNEL"], ["ADJACENT_CHANNELS"], []]


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("last", [False, True])
def test_windows_as_built_in(host, window, dtype, last) -> None:
    spatial = (
        [42] if len(window.extent) == 1 else [4, 6, 8] if len(window.extent) == 3 else [19, 24]
    )
    check_pool(host, [1, 8, *spatial], window, dtype, last)


def check_pool(host, shape, window, dtype, last) -> None:
    x = values(*shape, dtype=dtype)
    x = channels_last(x) if last else x
    y, switches = host.max_pool(x, window)
    expected, expected_switches = naive_max_pool(x, window, y.shape[2:])
    assert same(y, expected)
    assert same(switches, expected_switches)
    assert y.stride() == switches.stride()
    assert last == (order_of(y)[-1] == 1)
    grad = values(*y.shape, dtype=dtype, seed=1)
    back = host.unpool(grad, switches, x.shape, window)
    assert same(back, naive_unpool(grad, switches, x.shape, window))


@pytest.mark.parametrize("width", [8, 12, 14, 15])
def test_rows_of_each_width(host, width: int) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        check_pool(host, [1, 3, 7, width], WINDOWS["3x3 by 2"], dtype, False)


def test_indices_of_64_bits(host, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cuda_pools", "cuda_backend"):
        monkeypatch.setattr(
            f"torchattr.kernels.{module}.index_bits", lambda *sizes: "INDEX_BITS=64"
        )
    for last in (False, True):
        check_pool(host, [2, 8, 6, 8], WINDOWS["3x3 by 2"], torch.float32, last)
    test_channels_of_each_lie(host, torch.float32, (2, 7, 31, 3), True)
    assert all("INDEX_BITS=64" in kernel.defines for kernel in used_by(host))


def test_a_wide_index_where_offsets_need_one() -> None:
    from torchattr.kernels.cuda.pools import index_bits

    assert index_bits(2**31 - 2**17) == "INDEX_BITS=32"
    assert index_bits(5, 2**31) == "INDEX_BITS=64"
    assert index_bits(2**33) == "INDEX_BITS=64"


@pytest.mark.parametrize("value", [1, 2, 3, 7, 112, 12544, 2**31 - 1, 2**30 + 1])
def test_division_by_multiplication(value: int) -> None:
    _, factor, shift = divisor(value)
    assert factor < 2**32
    for dividend in (0, 1, value - 1, value, value + 1, 2**30 + 7, 2**31 - 1):
        if dividend < 2**31:
            assert ((dividend * factor >> 32) + dividend) >> shift == dividend // value


def test_autograd_hears_of_what_is_written_over(host) -> None:
    x = values(10)
    before = x._version
    host.relu(x, overwrite=True)
    assert x._version == before + 1


@pytest.mark.slow
def test_no_access_outside_of_any_tensor(host) -> None:
    """Tensors stand between walls of the address sanitizer; undefined behaviour stops it, too."""
    libraries = [
        subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True)
        for name in ("libasan.so", "libubsan.so")
    ]
    preload = " ".join(found.stdout.strip() for found in libraries)
    code = "import ctypes; ctypes.CDLL(None)"
    environment = {
        **os.environ,
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        SANITIZERS: "address,undefined",
    }
    probe = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    if probe.returncode:
        pytest.skip("the sanitizers cannot be loaded before Python here")
    selected = "many_tiles or each_lie or built_in or each_width or of_64_bits"
    command = [sys.executable, "-m", "pytest", "-qxs", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        [*command, "-k", selected], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


# Compiled for GPUs


def variants() -> list[Kernel]:
    """Give each kernel in each type, lie of channels, layout and index."""
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
    """A kernel whose compiler tells of registers and spills."""

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


# The cache


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


# Without a GPU


def test_all_reasons_are_given() -> None:
    reasons = backends()["cuda"].refusals(Request(CPU, torch.float64))
    assert reasons[0] == "it runs on CUDA devices, not on cpu"
    assert "float64" in reasons[-1]
    if not torch.cuda.is_available():
        assert "PyTorch sees no CUDA device" in reasons
        with ta.backend("cuda"), refused(ta.BackendError, "'cuda'", "not on cpu", "no CUDA device"):
            ta.Saliency(torch.nn.ReLU()).attribute(torch.ones(1, 2), target=1)


def test_a_missing_compiler_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchattr.kernels.cuda import driver as cuda_driver

    monkeypatch.setattr(cuda_driver, "find_nvrtc", lambda: None)
    monkeypatch.setattr(cuda_driver, "_missing", cuda_driver._missing.__wrapped__)
    reasons = DriverLauncher().refusals(torch.device("cuda", 0))
    assert any("nvidia-cuda-nvrtc" in reason for reason in reasons)


def test_it_is_not_looked_for_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DriverLauncher, "refusals", lambda *_: pytest.fail("looked for a GPU"))
    assert not CudaBackend().is_offered(Request(CPU, torch.float32))


def test_sources_are_in_the_package() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '"torchattr.kernels.cuda" = ["csrc/*.cu", "csrc/*.cuh"]' in text
    assert {path.suffix for path in SOURCES.iterdir()} == {".cpp", ".cu", ".cuh", ".h"}


# On a GPU

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.mark.gpu
@needs_gpu
def test_a_cuda_graph_holds_the_kernels() -> None:
    backend, x = backends()["cuda"], values(64, 1000).cuda()
    backend.relu(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y, mask = backend.relu(x)
    x.neg_()
    graph.replay()
    assert same(y, x.relu())
    assert mask.tolist() == naive_mask(y)


@pytest.mark.gpu
@needs_gpu
def test_another_stream_and_another_thread() -> None:
    from concurrent.futures import ThreadPoolExecutor

    backend, x = backends()["cuda"], values(1000, 1000).cuda()

    def work() -> torch.Tensor:
        with torch.cuda.stream(torch.cuda.Stream()):
            y, _ = backend.relu(x)
            torch.cuda.current_stream().synchronize()
            return y

    torch.cuda.synchronize()
    with ThreadPoolExecutor(1) as pool:
        assert same(pool.submit(work).result(), x.relu())


@pytest.mark.gpu
@pytest.mark.slow
@needs_gpu
def test_more_elements_than_31_bits_count() -> None:
    if torch.cuda.mem_get_info()[0] < 2**35:
        pytest.skip("the GPU has less than 32 GiB of free memory")
    backend = backends()["cuda"]
    x = torch.ones(2**32 + 8, dtype=torch.bfloat16, device="cuda")
    x[-4] = -1
    y, mask = backend.relu(x)
    assert y[-8:].tolist() == [1, 1, 1, 1, 0, 1, 1, 1]
    assert mask[-1].item() == 0b11101111
    assert bool((mask[:-1] == 255).all())
    del y, mask
    window = Window((2,), (2,), (0,), (1,))
    shape = (1, 2, len(x) // 2)
    pooled, switches = backend.max_pool(x.view(shape), window)
    assert pooled[0, 1, -4:].tolist() == [1, 1, 1, 1]
    assert switches[0, 1, -4:].tolist() == [128, 128, 129, 128]
    back = backend.unpool(pooled, switches, shape, window)
    assert back[0, 1, -8:].tolist() == [1, 0, 1, 0, 0, 1, 1, 0]
