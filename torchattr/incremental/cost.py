"""Cost model: rates measured once per device, and where to switch to dense computation."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from math import inf
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.cache_dir import cache_folder, put_in_place, read_whole
from torchattr.incremental.op_counts import CostKind, OpCounts, kind_of, of_bytes
from torchattr.incremental.operators.operator import Operator
from torchattr.incremental.operators.windows import Convolved
from torchattr.incremental.schedule import LoweredTape, Schedule
from torchattr.incremental.tape import TapeEntry, TapeValue
from torchattr.kernels import Boxes, Convolution, Epilogue, Patches, PatchOperations

# What the interpreter takes for an operator and for a dense call beside the launch, in seconds.
STEP = 1e-4
CALL = 2e-5
MEASURED = 3

WORTHWHILE = 0.9
"""Ratio to the dense time below which a schedule is chosen; estimates are no more accurate."""

PRODUCTS = frozenset(
    {F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d, F.multi_head_attention_forward}
)
"""Calls whose cost is dominated by their weights."""


@dataclass(frozen=True)
class Rates:
    """Seconds per multiply-add of each kind of convolution, per byte, and per launch.

    Attributes:
        patches: on changed pixels.
        whole: on whole images.
    """

    patches: Mapping[CostKind, float]
    whole: Mapping[CostKind, float]


_USUAL: Mapping[CostKind, float] = {
    **dict.fromkeys(("3x3", "1x1", "other", "depthwise"), 5e-11),
    "bytes": 1e-10,
    "launches": 1e-5,
}
USUAL = Rates(_USUAL, _USUAL)
"""Typical rates, for estimates where nothing is chosen by cost and so nothing is measured."""


def seconds(counts: OpCounts, rates: Mapping[CostKind, float]) -> float:
    """Return the estimated time of some operations."""
    return sum(count * rates[kind] for kind, count in counts.items())


def rates(
    backend: PatchOperations, dtype: torch.dtype, device: torch.device, threads: int
) -> Rates:
    """Return the rates of this machine, from the user's cache or else measured and cached."""
    return _rates(backend, dtype, device, (threads, *precision(dtype, device)))


def precision(dtype: torch.dtype, device: torch.device) -> tuple[object, ...]:
    """Return the settings of PyTorch that change the speed of products."""
    if device.type != "cuda":
        return ()
    backends: Any = torch.backends
    multiplying, convolving = backends.cuda.matmul, backends.cudnn.conv
    return (
        *((multiplying.fp32_precision, convolving.fp32_precision) if dtype.itemsize == 4 else ()),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
    )


@cache
def _rates(
    backend: PatchOperations,
    dtype: torch.dtype,
    device: torch.device,
    settings: tuple[object, ...],
) -> Rates:
    path = cache_folder() / f"rates-{_key(backend, dtype, device, settings)}.json"
    with suppress(OSError, ValueError, TypeError, LookupError):
        return _rates_of(json.loads(read_whole(path)))
    measured = _measured(backend, dtype, device)
    with suppress(OSError), put_in_place(path) as partial:
        partial.write_text(json.dumps(asdict(measured)))
    return measured


def _rates_of(read: Any) -> Rates:
    """Parse cached rates.

    Raises:
        ValueError: they are invalid.
    """
    rates: list[dict[CostKind, float]] = [
        {kind: float(read[way][kind]) for kind in _USUAL} for way in ("patches", "whole")
    ]
    if not all(0 < rate < inf for way in rates for rate in way.values()):
        raise ValueError(f"invalid rates: {read}")
    return Rates(*rates)


def _key(
    backend: PatchOperations,
    dtype: torch.dtype,
    device: torch.device,
    settings: tuple[object, ...],
) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    text = (2, backend.name, str(dtype), device.type, settings, name, platform.machine())
    return hashlib.sha256(repr((*text, torch.__version__)).encode()).hexdigest()[:24]


SAMPLES = (
    Convolution(torch.zeros(128, 128, 3, 3), None, padding=(1, 1)),
    Convolution(torch.zeros(256, 128, 1, 1), None),
    Convolution(torch.zeros(64, 128, 3, 3), None, (2, 2), (1, 1)),
    Convolution(torch.zeros(128, 1, 3, 3), None, padding=(1, 1), groups=128),
)
"""One convolution of each kind, on 28 x 28 pixels of 128 channels."""


TINY = Convolution(torch.zeros(16, 16, 1, 1), None)
"""A convolution that takes no longer than its launch."""


def _measured(backend: PatchOperations, dtype: torch.dtype, device: torch.device) -> Rates:
    # A GPU is busy with hundreds of variants only.
    variants = 16 if device.type == "cpu" else 512
    tiny = _on(TINY, dtype, device)
    patches: dict[CostKind, float] = {"launches": _time_patches(backend, tiny, 1, 1)}
    whole: dict[CostKind, float] = {"launches": _time_whole(tiny, 1, 1)}
    for sample in SAMPLES:
        conv, kind = _on(sample, dtype, device), kind_of(sample)
        took = _time_patches(backend, conv, variants, 12)
        out = _reached(_boxes(variants, 12), conv)
        patches[kind] = _beyond(patches, took) / (out.rows * conv.weight.numel())
        pixels = variants * (28 // conv.stride[0]) ** 2
        took = _time_whole(conv, variants, 28)
        whole[kind] = _beyond(whole, took) / (pixels * conv.weight.numel())
    x = torch.ones(2**22 if device.type == "cpu" else 2**25, dtype=dtype, device=device)
    byte = _beyond(whole, _time(lambda: torch.relu(x), device)) / (2 * x.nbytes)
    return Rates({**patches, "bytes": byte}, {**whole, "bytes": byte})


def _on(sample: Convolution, dtype: torch.dtype, device: torch.device) -> Convolution:
    """Return a convolution of ones: random weights would advance the caller's generator."""
    weight = torch.ones_like(sample.weight, device=device, dtype=dtype)
    return replace(sample, weight=weight, packed={})


def _beyond(rates: Mapping[CostKind, float], took: float) -> float:
    """Return the time beyond the launch; timers are too coarse to trust a small difference."""
    return max(took - rates["launches"], took / 4)


def _boxes(variants: int, side: int) -> Boxes:
    zeros = np.zeros(variants, dtype=np.int64)
    return Boxes.of(zeros, zeros + 8, zeros + 8, zeros + 8 + side, zeros + 8 + side)


def _reached(boxes: Boxes, conv: Convolution) -> Boxes:
    size = (28 // conv.stride[0],) * 2
    return boxes.reached(conv.extent, conv.stride, conv.padding, conv.dilation, size)


def _time_patches(backend: PatchOperations, conv: Convolution, variants: int, side: int) -> float:
    boxes, inputs = _boxes(variants, side), conv.weight.shape[1] * conv.groups
    clean = conv.weight.new_ones(1, 28, 28, inputs)
    patches = Patches(clean, conv.weight.new_ones(boxes.rows, inputs), boxes)
    out = _reached(boxes, conv)
    return _time(lambda: backend.convolve(patches, out, conv, Epilogue()), conv.weight.device)


def _time_whole(conv: Convolution, variants: int, side: int) -> float:
    x = conv.weight.new_ones(variants, conv.weight.shape[1] * conv.groups, side, side)
    return _time(
        lambda: F.conv2d(x, conv.weight, None, conv.stride, conv.padding, groups=conv.groups),
        x.device,
    )


def _time(call: Callable[[], Any], device: torch.device) -> float:
    """Return the shortest of a few runs, in seconds."""
    call()
    times = []
    for _ in range(MEASURED):
        _wait(device)
        began = perf_counter()
        call()
        _wait(device)
        times.append(perf_counter() - began)
    return min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Estimate:
    """Cost of incremental computation up to some entry, for a sample of the variants.

    Attributes:
        cut: the first entry that is computed densely.
        seconds: estimated time.
        whole: estimated time of computing everything densely.
    """

    cut: int
    seconds: float
    whole: float


def estimates(
    lowered: LoweredTape, sources: Mapping[int, Boxes], rates: Rates, at_once: int
) -> list[Estimate]:
    """Estimate every cut of a model into an incremental and a dense part, the cheapest first.

    Args:
        lowered: the lowered model.
        sources: where a sample of the variants changes the inputs.
        rates: those of this machine.
        at_once: number of variants per chunk.
    """
    schedule = Schedule(lowered, len(lowered.operators))
    variants = max(map(len, sources.values()))
    chunks = max(variants / at_once, 1e-9)
    spent = _incremental_costs(schedule, sources, rates, chunks)
    entries = len(lowered.operators)
    dense = [_dense_cost(lowered, position, rates) for position in range(entries)]
    call = CALL + rates.whole["launches"]
    whole = [cost * variants / _batch(lowered) + call * chunks for cost in dense]
    crossing = _crossing(lowered)
    rest = np.cumsum([0.0, *whole[::-1]])[::-1]
    before = np.cumsum([0.0, *spent])
    byte = rates.patches["bytes"]
    made = [
        Estimate(
            cut,
            float(before[cut] + rest[cut] + 2 * crossing[cut] * variants * byte * (cut > 0)),
            float(rest[0]),
        )
        for cut in range(entries + 1)
    ]
    return sorted(made, key=lambda estimate: estimate.seconds / (WORTHWHILE if estimate.cut else 1))


def _incremental_costs(
    schedule: Schedule, sources: Mapping[int, Boxes], rates: Rates, chunks: float
) -> list[float]:
    """Return the cost of each entry on changed pixels; its dense cost if it is not lowered."""
    lowered = schedule.lowered
    # Calls fused into a convolution cost nothing, and cannot be separated from it.
    alone = {id(step) for step in schedule.operators}
    boxes = dict(sources)
    variants = max(map(len, sources.values()))
    costs = []
    for position, steps in enumerate(lowered.operators):
        if not steps:
            whole = _dense_cost(lowered, position, rates) * variants / _batch(lowered)
            costs.append(whole + (CALL + rates.whole["launches"]) * chunks)
            continue
        boxes |= {step.output: step.boxes([boxes[i] for i in step.inputs]) for step in steps}
        costs.append(
            sum(
                _operator_cost(step, boxes[step.output], lowered, rates, chunks)
                for step in steps
                if isinstance(step, Convolved) or id(step) in alone
            )
        )
    return costs


def _operator_cost(
    step: Operator, boxes: Boxes, lowered: LoweredTape, rates: Rates, chunks: float
) -> float:
    item = lowered.tape.values[step.output].dtype.itemsize
    launched = (STEP + rates.patches["launches"]) * chunks
    return seconds(step.op_counts(boxes.rows, item), rates.patches) + launched


def _dense_cost(lowered: LoweredTape, position: int, rates: Rates) -> float:
    """Return the dense cost of an entry for the clean batch."""
    steps, entry = lowered.operators[position], lowered.tape.entries[position]
    values = lowered.tape.values
    if steps:
        counts: OpCounts = OpCounts()
        for step in steps:
            pixels = step.grid.pixels * step.grid.shape[0]
            counts.update(step.op_counts(pixels, values[step.output].dtype.itemsize))
        return seconds(counts, rates.whole)
    moved = sum(
        values[index].shape.numel() * values[index].dtype.itemsize
        for index in (*entry.inputs, *entry.outputs)
    )
    return seconds(of_bytes(moved) + _products(entry, values), rates.whole)


def _products(entry: TapeEntry, values: Sequence[TapeValue]) -> OpCounts:
    """Count the multiply-adds of a call that is not lowered: each output with each weight."""
    if entry.function not in PRODUCTS:
        return OpCounts()
    given = (*entry.args, *entry.kwargs.values())
    weights = [tensor for tensor in given if isinstance(tensor, Tensor) and tensor.dim() > 1]
    outputs = values[entry.outputs[0]].shape.numel() if entry.outputs else 0
    return OpCounts(
        {"1x1": sum(outputs * tensor.numel() // max(len(tensor), 1) for tensor in weights)}
    )


def _batch(lowered: LoweredTape) -> int:
    return next(iter(lowered.sources.values())).shape[0]


def _crossing(lowered: LoweredTape) -> Sequence[int]:
    """Return for each cut the bytes per example that cross into the dense part."""
    values, entries = lowered.tape.values, lowered.tape.entries
    made = dict.fromkeys(lowered.sources, 0)
    made.update({out: at + 1 for at, entry in enumerate(entries) for out in entry.outputs})
    read = {index: at for at, entry in enumerate(entries) for index in entry.inputs}
    change = np.zeros(len(entries) + 2, dtype=np.int64)
    for index, first in made.items():
        size = values[index].shape.numel() * values[index].dtype.itemsize // _batch(lowered)
        change[first] += size
        change[max(read.get(index, len(entries)), first - 1) + 1] -= size
    return [int(total) for total in np.cumsum(change)]
