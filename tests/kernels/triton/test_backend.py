"""The Triton backend: its refusals, how it splits its work, and that its kernels compile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from triton_accesses import accesses, misaligned

from torchattr.kernels import Request, TorchBackend
from torchattr.kernels.triton import backend as backend_module
from torchattr.kernels.triton.backend import TritonBackend

pytest.importorskip("triton.language")


TRITON, TORCH = TritonBackend(), TorchBackend()
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CPU = Request(torch.device("cpu"), torch.float32)
GPU = Request(torch.device("cuda"), torch.float32)


# What it refuses


def test_every_reason_is_given_at_once(compiling: pytest.MonkeyPatch) -> None:
    compiling.setattr(backend_module, "missing", lambda: ("Triton is not installed",))
    reasons = TRITON.refusals(Request(torch.device("cpu"), torch.float64))
    assert len(reasons) == 3
    for reason, words in zip(
        reasons, ("not installed", "needs a CUDA device, not cpu", "not float64"), strict=True
    ):
        assert words in reason


ATTRIBUTION = """
import sys, torch, torchvision
import torchattr as ta
model = torchvision.models.resnet18().eval()
ta.GuidedBackprop(model).attribute(torch.ones(1, 3, 32, 32), target=1)
print("torchattr.kernels.triton.rectifier" in sys.modules)
"""


def test_an_attribution_on_a_cpu_loads_no_kernel() -> None:
    # Torchvision's own registrations may import Triton; the kernels are what must stay out.
    done = subprocess.run(
        [sys.executable, "-c", ATTRIBUTION], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


# Many programs, and the ways for large tensors


# Tiles


# Compiled ahead of time


def compiled(folder: Path, capability: int, windows: str, *dtypes: str) -> list[dict]:
    script = Path(__file__).parents[1] / "support" / "triton_ahead.py"
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


def too_wide(row: dict) -> list[str]:
    """Return the accesses that are wider than their tensors allow.

    Some products carry addresses through shared memory, behind which no tensor can be told.
    """
    if row["kernel"] != "product_kernel":
        return row["misaligned"]
    return [fault for fault in row["misaligned"] if not fault.endswith("somewhere")]


def check(rows: list[dict]) -> None:
    for row in rows:
        assert row["binary"] > 0
        assert not too_wide(row), f"{row['kernel']} in {row['operation']}"
    rows = [row for row in rows if not row["operation"].startswith("misplaced")]
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


PTX = """
.param .u64 .ptr .global .align 1 kernel_param_0,
.param .u64 .ptr .global .align 1 kernel_param_1,
ld.param.b64 \t%rd1, [kernel_param_0];
mov.b64 \t%rd2, kernel_param_1;
ld.param.b64 \t%rd3, [%rd2];
selp.b64 \t%rd4, %rd1, %rd3, %p1;
mad.wide.s32 \t%rd5, %r1, 4, %rd4;
@%p2 ld.global.v4.b32 { %r2, %r3, %r4, %r5 }, [ %rd5 + 16 ];
cp.async.cg.shared.global [ %r6 + 0 ], [ %rd1 + 0 ], 0x10, %r7;
st.global.b32 [ %rd3 + 0 ], { %r2 };
"""


def test_accesses_are_followed_to_their_tensors() -> None:
    assert accesses(PTX) == [(16, {0, 1}), (16, {0}), (4, {1})]
    room = torch.empty(64)
    good, further, odd = room[:64].view(4, 16), room[1:33].view(2, 16), room[:60].view(4, 15)
    assert misaligned(PTX, [good, good]) == []
    assert misaligned(PTX, [good, further]) == ["16 bytes of (2, 16) in (16, 1)"]
    assert len(misaligned(PTX, [odd, good])) == 2
    assert misaligned("ld.global.v2.b32 {%r1, %r2}, [%rd1];", []) == ["8 bytes somewhere"]


def test_kernels_compile_with_16_byte_loads(tmp_path: Path) -> None:
    check(compiled(tmp_path, 90, "2x2,misplaced", "bfloat16"))


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_every_kernel_compiles(tmp_path: Path, capability: int) -> None:
    windows = "2x2,3x3,3x3x3,16x16,200,blocks,every misplaced"
    check(compiled(tmp_path, capability, windows, "float32", "bfloat16", "float16"))
