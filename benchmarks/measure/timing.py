"""Alternating timing: A B C A B C ... in one process, so that disturbances affect all sides."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch

Runs = Mapping[str, Callable[[], Any]]
Times = Mapping[str, list[float]]


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    """Time a run until its work on the device is done."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def device_seconds(run: Callable[[], Any], repeats: int) -> float:
    """Time a run by the GPU's own clock, as the mean of several, without launch overhead."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / repeats


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def by_turns(
    runs: Runs, rounds: int, device: torch.device, repeats: int = 1
) -> dict[str, list[float]]:
    """Time each run once per round. Warm-up is up to the caller.

    Args:
        runs: what to run, by name.
        rounds: number of rounds.
        device: the device that the work is done on.
        repeats: more than one for short runs on a GPU, which are then timed by its own clock.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            taken = device_seconds(run, repeats) if repeats > 1 else seconds(run, device)
            times[name].append(taken)
    return times


def by_turns_until(
    runs: Runs, end: float, device: torch.device, least: int, most: int, repeats: int = 1
) -> dict[str, list[float]]:
    """Time each run once per round until `time.perf_counter()` reaches `end`.

    At least `least` rounds and at most `most` are run.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for done in range(most):
        if done >= least and time.perf_counter() >= end:
            break
        for name, taken in by_turns(runs, 1, device, repeats).items():
            times[name] += taken
    return times


def ratio(times: Times, one: str, other: str) -> float:
    """Return the median over rounds of the time of `one`, as a share of that of `other`."""
    return median(a / b for a, b in zip(times[one], times[other], strict=True))


def milliseconds(taken: list[float], share: int = 1) -> float:
    """Return the median, in ms, divided by `share` (images of a batch)."""
    return 1e3 * median(taken) / share


def rounds_within(budget: float, cost: float, most: int) -> int:
    """Return how many rounds of `cost` seconds fit into a budget: at least one, at most `most`."""
    return max(1, min(most, int(budget / cost)))


def extrapolated(few: float, fewer: float, counts: tuple[int, int], whole: int) -> float:
    """Return the time of `whole` items from those of two counts: a fixed part plus one per item.

    `few` is the time of `counts[1]` items, `fewer` that of `counts[0]`.
    """
    each = (few - fewer) / (counts[1] - counts[0])
    return few + (whole - counts[1]) * each
