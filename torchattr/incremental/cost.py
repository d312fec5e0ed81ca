"""What work costs on this machine, measured once and kept, and where to stop following changes."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from math import inf
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.cache_dir import cache_folder, put_in_place, read_whole
from torchattr.incremental.op_counts import ConvolutionKind, OpCounts, kind_of, of_bytes
from torchattr.incremental.operators.operator import Operator
from torchattr.incremental.operators.windows import Convolved
from torchattr.incremental.schedule import LoweredTape, Schedule
from torchattr.incremental.tape import TapeEntry, TapeValue
from torchattr.kernels import Backend, Boxes, Convolution, Epilogue, Patches

# What a step costs besides, in seconds: Python, and the calls that it makes.
STEP = 1e-4
CALL = 3e-5
MEASURED = 3

WORTHWHILE = 0.9
"""Of what the whole takes: estimates are no better than that."""

PRODUCTS = frozenset(
    {F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d, F.multi_head_attention_forward}
)
"""Calls whose cost is that of their weights."""


@dataclass(frozen=True)
class Rates:
    """Seconds for one multiply-add of each kind of convolution, and for one byte.

    Attributes:
        patches: on changed pixels.
        whole: on whole pictures.
    """

    patches: Mapping[ConvolutionKind, float]
    whole: Mapping[ConvolutionKind, float]


_USUAL: Mapping[ConvolutionKind, float] = {
    **dict.fromkeys(("3x3", "1x1", "other", "depthwise"), 5e-11),
    "bytes": 1e-10,
}
USUAL = Rates(_USUAL, _USUAL)
"""What a machine may have: for counting, where nothing is chosen and so nothing is measured."""


def seconds(work: OpCounts, rates: Mapping[ConvolutionKind, float]) -> float:
    """Return what work takes."""
    return sum(count * rates[kind] for kind, count in work.items())


@cache
def rates(backend: Backend, dtype: torch.dtype, device: torch.device, threads: int) -> Rates:
    """Return the rates of this machine: read from the user's cache, or measured and put there."""
    place = cache_folder() / f"rates-{_key(backend, dtype, device, threads)}.json"
    with suppress(OSError, ValueError, TypeError, LookupError):
        return _rates_of(json.loads(read_whole(place)))
    found = _measured(backend, dtype, device)
    with suppress(OSError), put_in_place(place) as part:
        part.write_text(json.dumps(asdict(found)))
    return found


def _rates_of(read: Any) -> Rates:
    """Return rates as they were written.

    Raises:
        ValueError: they are none.
    """
    found = [{kind: float(read[way][kind]) for kind in _USUAL} for way in ("patches", "whole")]
    if not all(0 < rate < inf for way in found for rate in way.values()):
        raise ValueError(f"no rates: {read}")
    return Rates(*found)


def _key(backend: Backend, dtype: torch.dtype, device: torch.device, threads: int) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    text = (1, backend.name, str(dtype), device.type, threads, name, platform.machine())
    return hashlib.sha256(repr((*text, torch.__version__)).encode()).hexdigest()[:24]


SAMPLES = (
    Convolution(torch.zeros(128, 128, 3, 3), None, padding=(1, 1)),
    Convolution(torch.zeros(256, 128, 1, 1), None),
    Convolution(torch.zeros(64, 128, 3, 3), None, (2, 2), (1, 1)),
    Convolution(torch.zeros(128, 1, 3, 3), None, padding=(1, 1), groups=128),
)
"""One convolution of each kind, on 28 x 28 pixels of 128 channels."""


def _measured(backend: Backend, dtype: torch.dtype, device: torch.device) -> Rates:
    patches: dict[ConvolutionKind, float] = {}
    whole: dict[ConvolutionKind, float] = {}
    for sample in SAMPLES:
        # What is computed does not matter, but random numbers would be the user's.
        weight = torch.ones_like(sample.weight, device=device, dtype=dtype)
        conv = Convolution(
            weight, None, sample.stride, sample.padding, sample.dilation, sample.groups
        )
        kind = kind_of(conv)
        patches[kind] = _of_patches(backend, conv)
        whole[kind] = _of_whole(conv)
    x = torch.ones(2**22, dtype=dtype, device=device)
    a_byte = _time(lambda: torch.relu(x), device) / (2 * x.nbytes)
    return Rates({**patches, "bytes": a_byte}, {**whole, "bytes": a_byte})


def _of_patches(backend: Backend, conv: Convolution) -> float:
    variants, side = 16, 12
    zeros = np.zeros(variants, dtype=np.int64)
    boxes = Boxes.of(zeros, zeros + 8, zeros + 8, zeros + 8 + side, zeros + 8 + side)
    clean, changed = torch.ones(1, 28, 28, 128), torch.ones(boxes.rows, 128)
    patches = Patches(clean.to(conv.weight), changed.to(conv.weight), boxes)
    out = boxes.reached(
        conv.extent, conv.stride, conv.padding, conv.dilation, (28 // conv.stride[0],) * 2
    )
    took = _time(lambda: backend.convolve(patches, out, conv, Epilogue()), conv.weight.device)
    return took / (out.rows * conv.weight.numel())


def _of_whole(conv: Convolution) -> float:
    x = torch.ones(16, 128, 28, 28, dtype=conv.weight.dtype, device=conv.weight.device)

    def call() -> Tensor:
        return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, groups=conv.groups)

    pixels = call().numel() // conv.weight.shape[0]
    return _time(call, x.device) / (pixels * conv.weight.numel())


def _time(call: Callable[[], Any], device: torch.device) -> float:
    """Return the shortest of a few runs, in seconds."""
    call()
    found = []
    for _ in range(MEASURED):
        began = perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(perf_counter() - began)
    return min(found)


@dataclass(frozen=True)
class Estimate:
    """What following changes up to some entry would cost for a sample of the variants.

    Attributes:
        cut: the first entry that is computed as a whole.
        seconds: what it takes.
        whole: what it would take to compute everything as a whole.
    """

    cut: int
    seconds: float
    whole: float


def estimates(
    reading: LoweredTape, sources: Mapping[int, Boxes], found: Rates, at_once: int
) -> list[Estimate]:
    """Estimate each way to cut a model in two, the cheapest first.

    Args:
        reading: the model.
        sources: where a sample of the variants changes the inputs.
        found: the rates of this machine.
        at_once: how many variants run together.
    """
    plan = Schedule(reading, len(reading.operators))
    variants = max(len(boxes) for boxes in sources.values())
    chunks = max(variants / at_once, 1e-9)
    spent = _on_patches(plan, sources, found, chunks)
    entries = len(reading.operators)
    dense = [_as_a_whole(reading, position, found) for position in range(entries)]
    whole = [cost * variants / _batch(reading) + CALL * chunks for cost in dense]
    crossing = _crossing(reading)
    rest = np.cumsum([0.0, *whole[::-1]])[::-1]
    before = np.cumsum([0.0, *spent])
    a_byte = found.patches["bytes"]
    made = [
        Estimate(
            cut,
            float(before[cut] + rest[cut] + 2 * crossing[cut] * variants * a_byte * (cut > 0)),
            float(rest[0]),
        )
        for cut in range(entries + 1)
    ]
    return sorted(made, key=lambda one: one.seconds / (WORTHWHILE if one.cut else 1))


def _on_patches(
    plan: Schedule, sources: Mapping[int, Boxes], found: Rates, chunks: float
) -> list[float]:
    """Return what each entry costs on changed pixels; what cannot be followed, as a whole."""
    reading = plan.lowered
    # What a convolution takes in costs nothing, and cannot be cut off from it.
    alone = {id(step) for step in plan.operators}
    boxes = dict(sources)
    variants = max(len(one) for one in sources.values())
    costs = []
    for position, steps in enumerate(reading.operators):
        if not steps:
            whole = _as_a_whole(reading, position, found) * variants / _batch(reading)
            costs.append(whole + CALL * chunks)
            continue
        boxes |= {step.output: step.boxes([boxes[i] for i in step.inputs]) for step in steps}
        costs.append(
            sum(
                _of_step(step, boxes[step.output], reading, found, chunks)
                for step in steps
                if isinstance(step, Convolved) or id(step) in alone
            )
        )
    return costs


def _of_step(
    step: Operator, boxes: Boxes, reading: LoweredTape, found: Rates, chunks: float
) -> float:
    item = reading.tape.values[step.output].dtype.itemsize
    return seconds(step.work(boxes.rows, item), found.patches) + STEP * chunks


def _as_a_whole(reading: LoweredTape, position: int, found: Rates) -> float:
    """Return what an entry costs for the clean batch."""
    steps, entry = reading.operators[position], reading.tape.entries[position]
    values = reading.tape.values
    if steps:
        work: OpCounts = OpCounts()
        for step in steps:
            pixels = step.grid.pixels * step.grid.shape[0]
            work.update(step.work(pixels, values[step.output].dtype.itemsize))
        return seconds(work, found.whole)
    moved = sum(
        values[index].shape.numel() * values[index].dtype.itemsize
        for index in (*entry.inputs, *entry.outputs)
    )
    return seconds(of_bytes(moved) + _products(entry, values), found.whole)


def _products(entry: TapeEntry, values: Sequence[TapeValue]) -> OpCounts:
    """Count the multiply-adds of a call that is not read: each output's with each weight."""
    if entry.function not in PRODUCTS:
        return OpCounts()
    given = (*entry.args, *entry.kwargs.values())
    weights = [one for one in given if isinstance(one, Tensor) and one.dim() > 1]
    outputs = values[entry.outputs[0]].shape.numel() if entry.outputs else 0
    return OpCounts({"1x1": sum(outputs * one.numel() // max(len(one), 1) for one in weights)})


def _batch(reading: LoweredTape) -> int:
    return next(iter(reading.sources.values())).shape[0]


def _crossing(reading: LoweredTape) -> Sequence[int]:
    """Return for each cut the bytes an example that are handed over there."""
    values, entries = reading.tape.values, reading.tape.entries
    made = dict.fromkeys(reading.sources, 0)
    made.update({out: at + 1 for at, entry in enumerate(entries) for out in entry.outputs})
    read = {index: at for at, entry in enumerate(entries) for index in entry.inputs}
    change = np.zeros(len(entries) + 2, dtype=np.int64)
    for index, first in made.items():
        size = values[index].shape.numel() * values[index].dtype.itemsize // _batch(reading)
        change[first] += size
        change[max(read.get(index, len(entries)), first - 1) + 1] -= size
    return [int(one) for one in np.cumsum(change)]
