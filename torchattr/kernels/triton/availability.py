"""Whether Triton can run here: what is installed, whether it interprets, and on which devices."""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch

OLDEST = (3, 5)
"""The oldest Triton that the kernels have been compiled with."""

NEWEST = (3, 8)
"""The newest Triton whose compiled kernels are launched directly; later ones by Triton itself."""

CAPABILITY = (8, 0)
"""The lowest compute capability listed in Triton's documentation."""


def interpreted() -> bool:
    """Whether Triton's interpreter is enabled, by any value that Triton accepts."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "y", "yes", "t", "true", "on")


def release(text: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(int(part) for part in text.split(".")[:2])


@cache
def missing() -> tuple[str, ...]:
    """Return why the installed packages do not suffice, if so."""
    oldest = ".".join(map(str, OLDEST))
    command = f'run: pip install "triton>={oldest}"'
    try:
        found = version("triton")
    except PackageNotFoundError:
        return (f"Triton is not installed ({command})",)
    if release(found) < OLDEST:
        return (f"Triton {found} is older than {oldest} ({command})",)
    return ()


def unsuitable(device: torch.device) -> list[str]:
    """Return why a device cannot run the kernels, if so."""
    if interpreted() and device.type in ("cpu", "cuda"):
        return []
    if device.type != "cuda":
        hint = "; TRITON_INTERPRET=1 runs it on the CPU, for tests" if device.type == "cpu" else ""
        return [f"it needs a CUDA device, not {device}{hint}"]
    if not torch.cuda.is_available():
        return ["PyTorch sees no CUDA device"]
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < CAPABILITY:
        actual, least = (
            ".".join(map(str, pair))
            for pair in (torch.cuda.get_device_capability(device), CAPABILITY)
        )
        return [f"{device} has compute capability {actual}, Triton needs {least}"]
    return []
