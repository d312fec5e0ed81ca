"""How much memory a device has free."""

from __future__ import annotations

import os
from pathlib import Path

import torch

UNKNOWN_FREE_BYTES = 2**30


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device in bytes, or a conservative guess if it is unknown."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    return _free_host_bytes() if device.type == "cpu" else UNKNOWN_FREE_BYTES


def _free_host_bytes() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    names = getattr(os, "sysconf_names", {})
    if "SC_AVPHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return UNKNOWN_FREE_BYTES
