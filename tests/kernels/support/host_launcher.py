"""Runs the CUDA kernels on the CPU: the same sources, compiled for the host."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from torchattr.kernels.cuda.compile import SOURCES
from torchattr.kernels.cuda.launch import Kernel, Launcher, LaunchPlan

SHIM = Path(__file__).with_name("host_cuda")
SANITIZERS = "TORCHATTR_HOST_SANITIZERS"


class HostLauncher(Launcher):
    """Compiles with g++.

    Args:
        widest: bounds the windows that are built into their kernels.
        last_blocks: how many of the last blocks to run; without it, all of them.
    """

    def __init__(self, widest: int | None = None, last_blocks: int | None = None) -> None:
        self._widest, self._last_blocks = widest, last_blocks
        self.launched: list[Kernel] = []

    def refusals(self, device: torch.device) -> list[str]:
        reasons = [] if device.type == "cpu" else [f"it runs on the CPU, not on {device.type}"]
        return reasons if shutil.which("g++") else [*reasons, "there is no g++"]

    def builds_in(self, comparisons: int) -> bool:
        if self._widest is None:
            return super().builds_in(comparisons)
        return comparisons <= self._widest

    def launch(
        self, plan: LaunchPlan, device: torch.device, addresses: Sequence[int | None]
    ) -> None:
        self.launched.append(plan.kernel)
        first = 0 if self._last_blocks is None else max(0, plan.blocks - self._last_blocks)
        limits = ctypes.c_longlong(first), ctypes.c_longlong(plan.blocks)
        parameters = plan.parameters(addresses)
        _library(plan.kernel).launch(*limits, parameters.array)


@cache
def _library(kernel: Kernel) -> ctypes.CDLL:
    sanitizers = os.environ.get(SANITIZERS)
    options = [
        *("-std=c++17", "-O1", "-shared", "-fPIC", "-w"),
        *("-fno-strict-aliasing", "-ffp-contract=off"),
        *([f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-g"] if sanitizers else []),
        *(f"-I{SHIM}", f"-I{SOURCES}"),
        *(f'-DSOURCE="{kernel.name}.cu"', f"-DKERNEL={kernel.name}", *kernel.options),
    ]
    place = _folder() / f"{hashlib.sha256(' '.join(options).encode()).hexdigest()[:32]}.so"
    command = ["g++", *options, str(SHIM / "launch.cpp"), "-o", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return ctypes.CDLL(str(place))


@cache
def _holder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="host-cuda-")


def _folder() -> Path:
    return Path(_holder().name)
