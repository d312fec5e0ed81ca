"""Memory of a run: the bytes that autograd saves, and the peak of allocations."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def remembered_bytes(run: Callable[[], Any], known: Iterable[Tensor]) -> int:
    """Return the bytes of distinct storages that autograd saves during a run, besides `known`."""
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
    """Return a model's parameters and buffers."""
    return [*model.parameters(), *model.buffers()]


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """Return the peak of tensor bytes during a run, above those before it."""
    return _peak_on_gpu(run, device) if device.type == "cuda" else _peak_on_cpu(run)


def _peak_on_gpu(run: Callable[[], Any], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _peak_on_cpu(run: Callable[[], Any]) -> int:
    """Follow PyTorch's own record of each allocation and release."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        recorded.export_chrome_trace(file.name)
        with open(file.name, encoding="utf-8", errors="replace") as trace:
            events = json.load(trace)["traceEvents"]
    return highest_level(
        (event["ts"], event["args"]["Ev Idx"], event["args"]["Bytes"])
        for event in events
        if event["name"] == "[memory]"
    )


def highest_level(changes: Iterable[tuple[float, int, int]]) -> int:
    """Return the highest running sum of changes `(time, number, bytes)`."""
    level = highest = 0
    for _, _, change in sorted(changes):
        level += change
        highest = max(highest, level)
    return highest
