"""Whether Triton can run here: what is installed, whether it interprets, and on which devices."""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch

OLDEST = (3, 5)
"""The oldest Triton that the kernels have been compiled with."""

CAPABILITY = (8, 0)
"""The least compute capability that Triton's documentation lists."""


def interpreted() -> bool:
    """Tell whether Triton's interpreter is asked for, in the words that Triton knows."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "y", "yes", "t", "true", "on")


@cache
def missing() -> tuple[str, ...]:
    oldest = ".".join(map(str, OLDEST))
    way_out = f'run: pip install "triton>={oldest}"'
    try:
        found = version("triton")
    except PackageNotFoundError:
        return (f"Triton is not installed ({way_out})",)
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        return (f"Triton {found} is older than {oldest} ({way_out})",)
    return ()


def unsuitable(device: torch.device) -> list[str]:
    """Give what keeps the device from running the kernels."""
    if interpreted() and device.type in ("cpu", "cuda"):
        return []
    if device.type != "cuda":
        where = "; TRITON_INTERPRET=1 runs it on the CPU, for tests" if device.type == "cpu" else ""
        return [f"it needs a CUDA device, not {device}{where}"]
    if not torch.cuda.is_available():
        return ["PyTorch finds no CUDA device"]
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < CAPABILITY:
        has, least = (
            ".".join(map(str, pair))
            for pair in (torch.cuda.get_device_capability(device), CAPABILITY)
        )
        return [f"{device} has compute capability {has}, Triton needs {least}"]
    return []
