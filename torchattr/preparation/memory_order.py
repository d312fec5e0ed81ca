"""Decide by measurement whether channels-last memory makes a model faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.errors import InputError

ROUNDS = 5
PATIENCE = 10.0
"""Seconds after which no further round begins; at least one runs."""

WORTHWHILE = 0.97
"""Channels-last is chosen below this ratio of the times; a difference above it may be noise."""


@dataclass(frozen=True)
class Decision:
    """Whether a model runs in channels-last memory, and why."""

    channels_last: bool
    why: str

    def __str__(self) -> str:
        return f"{'yes' if self.channels_last else 'no'}: {self.why}"


def check_choice(channels_last: Any) -> None:
    """Check a choice of memory order.

    Raises:
        InputError: it is neither a bool nor `"measure"`.
    """
    if channels_last not in (True, False, "measure"):
        raise InputError(f"channels_last must be 'measure', True or False, got {channels_last!r}")


def decide(
    choice: Any, inputs: Sequence[Tensor], run: Callable[[bool], Any], has_convolutions: bool
) -> Decision:
    """Decide for a model, by default by running it alternately in both memory orders.

    Args:
        choice: `True`, `False` or `"measure"`.
        inputs: the example inputs.
        run: runs forward and backward; called with whether to use channels-last memory.
        has_convolutions: whether the model has two-dimensional convolutions.
    """
    if choice != "measure":
        return Decision(choice, "as requested")
    if not has_convolutions or not any(tensor.dim() == 4 for tensor in inputs):
        return Decision(False, "no two-dimensional convolution on a four-dimensional input")
    device = inputs[0].device
    times = alternate({True: lambda: run(True), False: lambda: run(False)}, device)
    # Other load on the machine only adds time, so the minimum is the best estimate.
    with_it, without = min(times[True]), min(times[False])
    ratio = with_it / without
    why = (
        f"{1e3 * with_it:.1f} ms against {1e3 * without:.1f} ms, {ratio:.2f} of the time (best of"
        f" {len(times[True])}, alternating; forward, gradient and guided backward of"
        f" {tuple(inputs[0].shape)} on {device.type})"
    )
    return Decision(ratio < WORTHWHILE, why)


def alternate(
    runs: Mapping[bool, Callable[[], Any]], device: torch.device
) -> dict[bool, list[float]]:
    """Time each run once per round, after an untimed warm-up round."""
    times: dict[bool, list[float]] = {name: [] for name in runs}
    spent = sum(_seconds(run, device) for run in runs.values())
    while len(times[True]) < ROUNDS and (spent < PATIENCE or not times[True]):
        for name, run in runs.items():
            times[name].append(_seconds(run, device))
            spent += times[name][-1]
    return times


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    _finish(device)
    start = time.perf_counter()
    run()
    _finish(device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def to_channels_last(value: Any) -> Any:
    """Return an image batch in channels-last memory, and any other value unchanged."""
    if isinstance(value, Tensor) and value.dim() == 4 and value.is_floating_point():
        return value.contiguous(memory_format=torch.channels_last)
    return value
