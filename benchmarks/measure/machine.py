"""The machine, the versions, and the numeric settings that all sides share."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

VERSIONS = ("torchattr", "torch", "torchvision")


def machine(device: torch.device) -> dict[str, Any]:
    """Describe the machine; one file of results belongs to one such description."""
    found = {"processor": _processor(), "system": platform.system()}
    if device.type == "cuda":
        return {**found, "gpu": torch.cuda.get_device_name(device)}
    return {**found, "threads": torch.get_num_threads()}


def stem(described: dict[str, Any]) -> str:
    """Return the stem of the result files."""
    name = described.get("gpu") or f"{described['processor']} {described['threads']} threads"
    return re.sub(r"\W+", "-", name).strip("-").lower()


def circumstances(device: torch.device, peers: Iterable[str] = ()) -> dict[str, Any]:
    """Return the settings and versions that a section was measured with."""
    return {
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "precision": _precision() if device.type == "cuda" else "float32",
        **{name: _version(name) for name in (*VERSIONS, *peers)},
    }


def same_precision_for_all(tf32: bool) -> None:
    """Set the precision of float32 arithmetic on GPUs for the whole process."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def _precision() -> str:
    return "TF32" if torch.get_float32_matmul_precision() == "high" else "float32"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
