"""The CUDA kernels: compiled for GPUs, run on the host, and refused without a GPU.

`test_contract.py` tests their results, on the host everywhere and on a GPU if there is one.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path

import pytest
import torch
from helpers import noise, refused
from host_launcher import SANITIZERS, HostLauncher
from oracles import (
    channels_last,
    naive_mask,
    naive_max_pool,
    naive_relu_backward,
    naive_unpool,
    same,
)

import torchattr as ta
from torchattr.kernels import Request, Window, backends
from torchattr.kernels.cuda.backend import CudaBackend, run_plan
from torchattr.kernels.cuda.launch import Kernel
from torchattr.kernels.cuda.pools import pool_plan, unpool_plan
from torchattr.kernels.layout import order_of

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
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


@pytest.fixture
def no_plans() -> Iterator[None]:
    """Plans are made anew within a test, and not kept."""
    for plan in (run_plan, pool_plan, unpool_plan):
        plan.cache_clear()
    yield
    for plan in (run_plan, pool_plan, unpool_plan):
        plan.cache_clear()


@pytest.mark.usefixtures("no_plans")
def test_indices_of_64_bits(host, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cuda.pools", "cuda.backend"):
        monkeypatch.setattr(
            f"torchattr.kernels.{module}.index_bits", lambda *sizes: "INDEX_BITS=64"
        )
    for last in (False, True):
        check_pool(host, [2, 8, 6, 8], WINDOWS["3x3 by 2"], torch.float32, last)
    test_channels_of_each_lie(host, torch.float32, (2, 7, 31, 3), True)
    assert all("INDEX_BITS=64" in kernel.defines for kernel in used_by(host))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels", [8, 7])
@pytest.mark.parametrize("last", [False, True])
def test_tensors_that_begin_at_any_offset(host, dtype, channels: int, last: bool) -> None:
    """The shim of the host refuses a vector's access that is not aligned, as a GPU does."""
    window = WINDOWS["3x3 by 2"]
    right = values(2, channels, 6, 8, dtype=dtype)
    right = channels_last(right) if last else right
    expected, expected_switches = naive_max_pool(right, window, (3, 4))
    grad = values(*expected.shape, dtype=dtype, seed=1)
    factors = values(channels + 16, seed=2)
    for offset in range(1, 16):
        x, moved = at_offset(right, offset), at_offset(grad, offset)
        y, switches = host.max_pool(x, window)
        assert same(y, expected)
        assert same(switches, expected_switches)
        chosen = at_offset(channels_last(switches) if last else switches, offset)
        back = host.unpool(moved, chosen, x.shape, window)
        assert same(back, naive_unpool(grad, switches, x.shape, window))
        scale = factors[offset : offset + channels]
        rectified, mask = host.batch_norm_relu(x, scale, scale)
        along = scale.view(-1, 1, 1)
        assert same(rectified, (x * along + along).relu().to(dtype))
        back = host.relu_backward(x, at_offset(mask, offset), order_of(x), "guided")
        assert same(back, x.where((rectified > 0) & (x > 0), 0))


@pytest.mark.parametrize("last", [False, True])
def test_a_slice_of_a_batch_with_an_odd_pitch(host, last: bool) -> None:
    whole = values(3, 19, 7, 9, dtype=torch.bfloat16)
    whole = channels_last(whole) if last else whole
    for x in (whole[1:, 1:17], whole[:, :16, 1:, 1:], whole[..., ::2]):
        y, switches = host.max_pool(x, WINDOWS["2x2"])
        expected, expected_switches = naive_max_pool(x, WINDOWS["2x2"], y.shape[2:])
        assert same(y, expected)
        assert same(switches, expected_switches)
        assert same(host.relu(x)[0], x.relu())


def at_offset(tensor: torch.Tensor, offset: int) -> torch.Tensor:
    """Return a tensor in the same layout, so many elements after an aligned address."""
    memory = torch.zeros(tensor.numel() + offset, dtype=tensor.dtype)
    return memory.as_strided(tensor.shape, tensor.stride(), offset).copy_(tensor)


# Past 31 bits, on the host: only the last blocks run, so only the end of memory is ever touched.

ENDS = 2**31 + 1024


@pytest.fixture
def at_the_end() -> CudaBackend:
    backend = CudaBackend(HostLauncher(last_blocks=2))
    reasons = backend.refusals(Request(CPU, torch.float32))
    if reasons:
        pytest.skip("; ".join(reasons))
    return backend


def lazily(shape: tuple[int, ...], dtype: torch.dtype, last: bool = False) -> torch.Tensor:
    """Return memory that takes no room before it is touched."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux gives memory that nothing stands for yet")
    not_reserved = 0x4000  # Python names it since 3.13
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | not_reserved
    memory = mmap.mmap(-1, prod(shape) * dtype.itemsize, flags=flags)
    run = torch.frombuffer(memory, dtype=dtype)
    if not last:
        return run.view(shape)
    return run.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("odd", [0, 3])
def test_runs_past_31_bits(at_the_end, affine: bool, odd: int) -> None:
    x = lazily((1, 8, ENDS // 8 + odd), torch.bfloat16)
    x[0, -1, -4:] = torch.tensor([3, -2, 5, 0], dtype=torch.bfloat16)
    factors = torch.ones(8), torch.full((8,), 1.0)
    factors[0][-1] = 2.0
    if affine:
        y, mask = at_the_end.batch_norm_relu(x, factors[0], factors[1])
        assert y[0, -1, -4:].tolist() == [7, 0, 11, 1]
        assert mask[-1].item() >> 4 == 0b1101
    else:
        y, mask = at_the_end.relu(x)
        assert y[0, -1, -4:].tolist() == [3, 0, 5, 0]
        assert mask[-1].item() >> 4 == 0b0101
    back = at_the_end.batch_norm_relu_backward(x, mask, factors[0], (0, 1, 2), "gradient")
    assert back[0, -1, -4:].tolist() == [6, 0, 10, 0]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(1, 2, ENDS), (2, 8, ENDS // 8), (1, 8, 2**14, 2**15)], ids=str)
def test_pools_past_31_bits(at_the_end, shape: tuple[int, ...], last: bool) -> None:
    dims = len(shape) - 2
    window = Window((2,) * dims, (2,) * dims, (0,) * dims, (1,) * dims)
    x = lazily(shape, torch.bfloat16, last)
    corner = (-1, -1, *(slice(-1, None),) * (dims - 1), slice(-4, None))
    x[corner] = torch.tensor([1, 2, 4, 3], dtype=torch.bfloat16)
    values, switches = at_the_end.max_pool(x, window)
    corner = (-1, -1, *(-1,) * (dims - 1), slice(-2, None))
    below = 2 * (dims - 1)
    assert values[corner].tolist() == [2, 4]
    assert switches[corner].tolist() == [128 | below | 1, 128 | below]
    back = at_the_end.unpool_gated(values, switches, x.shape, window, "guided")
    corner = (-1, -1, *(-1,) * (dims - 1), slice(-4, None))
    assert back[corner].tolist() == [0, 2, 4, 0]


@pytest.mark.parametrize("last", [False, True])
def test_windows_and_strides_past_31_bits(host, last: bool) -> None:
    """A row of 2^34 elements that share their memory, and planes 2^31 elements apart."""
    row = torch.tensor([1.0, 5.0]).view(1, 2, 1).expand(1, 2, 2**34)
    window = Window((2,), (2**33,), (0,), (2**32,))
    values, switches = host.max_pool(row, window)
    assert values.tolist() == [[[1.0, 1.0], [5.0, 5.0]]]
    assert switches.tolist() == [[[128, 128], [128, 128]]]
    far = lazily((2, 8, 2**31), torch.bfloat16)[:, :, :8]
    if last:
        far = lazily((2, 2**31, 8), torch.bfloat16)[:, :8].movedim(-1, 1)
    far[1, 7, 5] = 3
    values, switches = host.max_pool(far, Window((2,), (2,), (0,), (1,)))
    assert values.nonzero().tolist() == [[1, 7, 2]]
    assert switches[1, 7, 2].item() == 129


def test_autograd_hears_of_what_is_written_over(host) -> None:
    x = values(10)
    before = x._version
    host.relu(x, overwrite=True)
    assert x._version == before + 1


CONTRACT = Path(__file__).parents[1] / "test_contract.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "selected"),
    [
        (
            Path(__file__),
            "many_tiles or each_lie or built_in or each_width or of_64_bits or offset",
        ),
        (CONTRACT, "host and not built"),
    ],
    ids=["variants", "contract"],
)
def test_no_access_outside_of_any_tensor(host, file: Path, selected: str) -> None:
    """The address sanitizer guards both ends of every tensor; undefined behaviour also fails."""
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
    command = [sys.executable, "-m", "pytest", "-qxs", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(
        [*command, "-k", selected], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


# Compiled for GPUs


# The cache


# Without a GPU


def test_all_reasons_are_given() -> None:
    reasons = backends()["cuda"].refusals(Request(CPU, torch.float64))
    assert reasons[0] == "it runs on CUDA devices, not on cpu"
    assert "float64" in reasons[-1]
    if not torch.cuda.is_available():
        assert "PyTorch sees no CUDA device" in reasons
        with ta.backend("cuda"), refused(ta.BackendError, "'cuda'", "not on cpu", "no CUDA device"):
            ta.Saliency(torch.nn.ReLU()).attribute(torch.ones(1, 2), target=1)


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
