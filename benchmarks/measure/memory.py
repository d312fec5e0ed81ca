"""Memory of a run: the bytes that autograd saves, and the peak of allocations."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def remembered_bytes(
    run: Callable[[], Any],
    known: Iterable[Tensor],
    beside: Callable[[], Iterable[Tensor]] = tuple,
) -> int:
    """Return the bytes of distinct storages that are kept when the first backward of a run begins.

    Args:
        run: the run.
        known: tensors that do not count.
        beside: returns further tensors that are kept then, beside those that autograd saved.
    """
    counter = _Remembered(beside)
    with saved_tensors_hooks(counter.pack, counter.unpack):
        result = run()
        counter.kept()
    del result
    held = {tensor.untyped_storage().data_ptr(): tensor for tensor in counter.kept()}
    skip = {tensor.untyped_storage().data_ptr() for tensor in known}
    return sum(t.untyped_storage().nbytes() for at, t in held.items() if at not in skip)


class _Saved:
    """A tensor that autograd saved, which lives as long as the graph needs it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # The graph of a saved output would keep itself alive.


class _Remembered:
    """Follows what autograd saves until the first backward begins."""

    def __init__(self, beside: Callable[[], Iterable[Tensor]]) -> None:
        self._beside = beside
        self._alive: WeakSet[_Saved] = WeakSet()
        self._kept: list[Tensor] | None = None

    def pack(self, tensor: Tensor) -> _Saved:
        self._look()
        saved = _Saved(tensor)
        self._alive.add(saved)
        return saved

    def unpack(self, saved: _Saved) -> Tensor:
        self._look()
        return saved.tensor

    def kept(self) -> list[Tensor]:
        # These keep the storages, so that an address is not used again.
        if self._kept is None:
            self._kept = [saved.tensor for saved in self._alive]
            self._kept += [tensor.detach() for tensor in self._beside()]
        return self._kept

    def _look(self) -> None:
        if torch._C._current_graph_task_id() >= 0:  # A backward runs.
            self.kept()


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
