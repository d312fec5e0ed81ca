"""The Triton backend: what it refuses, how it cuts up its work, and that its kernels compile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import noise
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import torchattr.kernels.triton.backend as module
from torchattr.kernels import Request, TorchBackend, Window, order_of
from torchattr.kernels.triton.backend import TritonBackend

pytest.importorskip("triton")

TRITON, TORCH = TritonBackend(), TorchBackend()
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CPU = Request(torch.device("cpu"), torch.float32)
GPU = Request(torch.device("cuda"), torch.float32)


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Triton as users have it: it compiles."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    return monkeypatch


# What it refuses


def test_every_reason_is_given_at_once(compiling: pytest.MonkeyPatch) -> None:
    compiling.setattr(module, "_missing", lambda: ("Triton is not installed",))
    reasons = TRITON.refusals(Request(torch.device("cpu"), torch.float64))
    assert len(reasons) == 3
    for reason, words in zip(
        reasons, ("not installed", "needs a CUDA device, not cpu", "not float64"), strict=True
    ):
        assert words in reason


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
            raise module.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(module, "version", version)
    reasons = module._missing.__wrapped__()
    assert len(reasons) == (words is not None)
    assert words is None or words in reasons[0]


def test_old_gpus_and_missing_ones(compiling: pytest.MonkeyPatch) -> None:
    compiling.setattr(torch.cuda, "is_available", lambda: False)
    assert TRITON.refusals(GPU) == ["PyTorch finds no CUDA device"]
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


ATTRIBUTION = """
import sys, torch, torchvision
import torchattr as ta
model = torchvision.models.resnet18().eval()
ta.GuidedBackprop(model).attribute(torch.ones(1, 3, 32, 32), target=1)
print("torchattr.kernels.triton.kernels" in sys.modules)
"""


def test_an_attribution_on_a_cpu_loads_no_kernel() -> None:
    # Torchvision's own registrations may import Triton; the kernels are what must stay out.
    done = subprocess.run(
        [sys.executable, "-c", ATTRIBUTION], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


# Many programs, and the ways for large tensors


@pytest.mark.parametrize("elements", [1024, 1025, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_runs_of_several_programs(elements: int, dtype: torch.dtype) -> None:
    x = noise(elements).to(dtype).to(DEVICE)
    y, mask = TRITON.relu(x, 1.0)
    expected, expected_mask = TORCH.relu(x, 1.0)
    assert torch.equal(y, expected)
    assert torch.equal(mask, expected_mask)
    back = TRITON.relu_backward(x, mask, (0,), "guided")
    assert torch.equal(back, TORCH.relu_backward(x, mask, (0,), "guided"))


WINDOWS = [
    Window((3, 3), (2, 2), (1, 1), (1, 1), True),
    Window((2, 2), (2, 2), (0, 0), (1, 1)),
    Window((3, 2), (1, 3), (1, 0), (1, 2)),
    Window((9, 8), (4, 5), (4, 2), (1, 1)),
]


def pools_agree(x: Tensor, window: Window) -> None:
    values, switches = TRITON.max_pool(x, window)
    expected, expected_switches = TORCH.max_pool(x, window)
    assert torch.equal(values, expected)
    assert torch.equal(switches, expected_switches)
    assert order_of(values) == order_of(switches) == order_of(expected)
    grad = noise(*values.shape, seed=2, dtype=torch.float32).to(DEVICE)
    # Where windows overlap, the signals of one place may be added in any order.
    precise = grad.double()
    exact, sizes, counts = (
        TORCH.unpool(signal, switches, x.shape, window)
        for signal in (precise, precise.abs(), torch.ones_like(precise))
    )
    error = (counts - 1).clamp(0) * torch.finfo(grad.dtype).eps * sizes
    back = TRITON.unpool(grad, switches, x.shape, window)
    assert bool(((back - exact).abs() <= error).all())
    exact = TORCH.unpool_gated(precise, switches, x.shape, window, "guided")
    gated = TRITON.unpool_gated(grad, switches, x.shape, window, "guided")
    assert bool(((gated - exact).abs() <= error).all())


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("last", [False, True])
def test_pools_of_several_programs(window: Window, last: bool) -> None:
    x = noise(2, 2, 9, 140, dtype=torch.float32).to(DEVICE)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    pools_agree(x, window)


@pytest.mark.parametrize("last", [False, True])
def test_pools_in_64_bits(monkeypatch: pytest.MonkeyPatch, last: bool) -> None:
    from torchattr.kernels.triton.kernels import pool_launch as pooling

    monkeypatch.setattr(pooling, "is_wide", lambda *tensors: True)
    x = noise(2, 5, 17, 14, dtype=torch.float32).to(DEVICE)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    for window in WINDOWS[:3]:
        pools_agree(x, window)


def test_which_tensors_need_64_bits() -> None:
    from torchattr.kernels.triton.kernels.indexing import is_wide

    def far(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta")

    assert not is_wide(far(2**30), far(4, 2**28).mT)
    assert is_wide(far(2**30), far(2**31))
    assert is_wide(far(2, 2**30)[:, :1].expand(2, 2**31))
    assert is_wide(far(4, 2**30)[:, :1]), "few elements, but far apart"
    assert is_wide(far(1).expand(2**31)), "close to each other, but many"


@pytest.mark.parametrize("last", [False, True])
def test_channels_of_more_elements_than_a_piece(
    monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    from torchattr.kernels.triton.kernels import rectifier

    x, grad = (noise(3, 5, 9, 7, seed=seed).float().to(DEVICE) for seed in (1, 2))
    if last:
        x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
    scale, shift = (noise(5, seed=seed).float().to(DEVICE) for seed in (3, 4))
    whole = TRITON.batch_norm_relu(x, scale, shift)
    back = TRITON.batch_norm_relu_backward(grad, whole[1], scale, order_of(x), "guided")
    monkeypatch.setattr(rectifier, "PIECE", 328)
    y, mask = TRITON.batch_norm_relu(x, scale, shift)
    assert torch.equal(y, whole[0])
    assert torch.equal(mask, whole[1])
    pieces = TRITON.batch_norm_relu_backward(grad, mask, scale, order_of(x), "guided")
    assert torch.equal(pieces, back)
    monkeypatch.setattr(rectifier, "serves", lambda elements, period: False)
    torch.testing.assert_close(TRITON.batch_norm_relu(x, scale, shift)[0], y)


@given(st.integers(0, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_division_by_multiplication(dividend: int, number: int) -> None:
    from torchattr.kernels.triton.kernels.indexing import divisor

    factor, shift = divisor(number)
    assert -(2**31) <= factor < 2**31
    high = (dividend * (factor % 2**32)) >> 32
    assert high + dividend < 2**32
    assert (high + dividend) >> shift == dividend // number


# Tiles


def test_the_fastest_tile_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchattr.kernels.triton.kernels import rectifier
    from torchattr.kernels.triton.kernels.tuning import CHOICES

    times = iter([3.0, 1.0, 2.0, 4.0])

    def do_bench(launch, warmup: int, rep: int) -> float:
        launch()
        return next(times)

    monkeypatch.setattr(rectifier, "LARGE", 4096)
    monkeypatch.setattr(rectifier.triton.testing, "do_bench", do_bench)
    rectifier.tile_for.cache_clear()
    try:
        assert rectifier.tile_for(torch.float16, DEVICE, False) == CHOICES[0]
        assert rectifier.tile_for(torch.float16, DEVICE, True) == CHOICES[1]
        assert rectifier.tile_for(torch.float16, DEVICE, True) == CHOICES[1]
    finally:
        rectifier.tile_for.cache_clear()


def test_when_tiles_are_not_measured(compiling: pytest.MonkeyPatch) -> None:
    from torchattr.kernels.triton.kernels.tuning import CHOICES, LARGE, fastest, is_worth_measuring

    def full(tile: object) -> float:
        raise torch.OutOfMemoryError

    assert fastest(full, CHOICES) == CHOICES[0]
    run = SimpleNamespace(is_cuda=True, numel=lambda: LARGE)
    compiling.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert is_worth_measuring(run)
    assert not is_worth_measuring(SimpleNamespace(is_cuda=True, numel=lambda: LARGE - 1))
    compiling.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert not is_worth_measuring(run)


# Compiled ahead of time


def compiled(folder: Path, capability: int, windows: str, *dtypes: str) -> list[dict]:
    script = Path(__file__).with_name("triton_ahead.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(capability), windows, *dtypes],
        env={**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_patches(row: dict) -> None:
    """Whole rows of channels are read 16 bytes at once, or float16's 8, and multiplied exactly."""
    operation, memory = row["operation"], row["memory"]
    if not operation.startswith(("gather patches", "pool patches", "convolve")):
        return
    wide = sum(memory.get(f"ld.global.{kind}", 0) for kind in ("v2.b32", "v4.b32"))
    assert memory.get("cp.async.cg", 0) or wide, f"{operation} loads number by number"
    assert not memory.get("ld.global.b16", 0) or "few channels" in operation, operation
    if row["kernel"] == "product_kernel":
        narrow = {"bfloat16": ["bf16"], "float16": ["f16"], "float32": []}[row["dtype"]]
        in_tf32 = row["dtype"] == "float32" and "TF32" in operation
        assert row["products"] == (["tf32"] if in_tf32 else narrow), operation


def check(rows: list[dict]) -> None:
    for row in rows:
        assert row["binary"] > 0
    wide = [row for row in rows if row["kernel"] in ("rectify_kernel", "gate_kernel")]
    assert wide
    for row in wide:
        assert row["memory"].get("ld.global.v4.b32", 0), f"{row['operation']} loads in small bits"
        stores = row["memory"].get("st.global.v4.b32", 0)
        assert stores or row["operation"].startswith("pack_mask"), f"{row['operation']} stores so"
    for row in rows:
        if "channels last" in row["operation"]:
            vectors = {"ld.global.v4.b32", "ld.global.v2.b32"} & set(row["memory"])
            assert vectors, f"{row['operation']} loads channel by channel"
    for row in rows:
        check_patches(row)
    again = [row for row in rows if row["operation"].endswith("again")]
    kernels = {(row["operation"], row["hash"]) for row in again}
    assert len(kernels) == len({row["operation"] for row in again}), "a kernel for each size"


def test_kernels_compile_with_16_byte_loads(tmp_path: Path) -> None:
    check(compiled(tmp_path, 90, "2x2", "bfloat16"))


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_every_kernel_compiles(tmp_path: Path, capability: int) -> None:
    windows = "2x2,3x3,3x3x3,16x16,200,blocks"
    check(compiled(tmp_path, capability, windows, "float32", "bfloat16", "float16"))
