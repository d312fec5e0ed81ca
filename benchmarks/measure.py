"""Timing by turns, and counting of what is remembered for backward."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


def by_turns(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time each run once a round, after one round that does not count: A B C A B C ..."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - start)
    return times


def ratio(times: Mapping[str, list[float]], one: str, other: str) -> float:
    """Give the median over rounds of how long `one` took, as a share of `other`."""
    return median(a / b for a, b in zip(times[one], times[other], strict=True))


def remembered_bytes(run: Callable[[], Any], known: list[Tensor]) -> int:
    """Give the bytes of distinct storages that autograd saves during a run, besides `known`."""
    skip = {tensor.untyped_storage().data_ptr() for tensor in known}
    held: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        # The alias keeps the storage, so that its address is not used again, but no graph.
        held[tensor.untyped_storage().data_ptr()] = tensor.detach()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(t.untyped_storage().nbytes() for at, t in held.items() if at not in skip)


def state(model: nn.Module) -> list[Tensor]:
    """Give the tensors that a model holds anyway."""
    return [*model.parameters(), *model.buffers()]


def machine() -> dict[str, Any]:
    """Say where the figures come from."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
