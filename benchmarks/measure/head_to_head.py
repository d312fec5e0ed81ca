"""Several runs of the same task head to head: memory once, then time in alternation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.measure.memory import MIB, peak_bytes
from benchmarks.measure.timing import (
    Runs,
    by_turns,
    by_turns_until,
    milliseconds,
    ratio,
    rounds_within,
)
from benchmarks.settings import Settings


@dataclass(frozen=True)
class HeadToHead:
    """The measurements of all runs.

    Attributes:
        times: the seconds of each run in each round.
        peaks: the peak memory of each run in bytes.
        failed: why a run has no time.
    """

    times: Mapping[str, list[float]]
    peaks: Mapping[str, int]
    failed: Mapping[str, str]

    @property
    def rounds(self) -> int:
        return max(map(len, self.times.values()), default=0)

    def of(self, names: Mapping[str, str]) -> HeadToHead:
        """Return the measurements of some runs under other names, given as new: old."""
        return HeadToHead(
            *(
                {new: found[old] for new, old in names.items() if old in found}
                for found in (self.times, self.peaks, self.failed)
            )
        )

    def figures(self, first: str, images: int = 1) -> dict[str, dict[str, Any]]:
        """Return each run's ms per image, its peak, and how long `first` took relative to it."""
        found: dict[str, dict[str, Any]] = {
            name: {"wrong": why} for name, why in self.failed.items()
        }
        for name, taken in self.times.items():
            found[name] = {"ms": milliseconds(taken, images), "peak_mib": self.peaks[name] / MIB}
            if name != first and first in self.times:
                found[name]["ratio"] = ratio(self.times, first, name)
        return found


def head_to_head(runs: Runs, settings: Settings, all_rounds: bool = False) -> HeadToHead:
    """Run everything once to measure memory, then alternately to measure time.

    Args:
        runs: what to run, by name.
        settings: the device, rounds and budget.
        all_rounds: run all rounds, regardless of the budget.
    """
    start = time.perf_counter()
    kept, peaks, failed = _rehearsal(runs, settings.device)
    cost = time.perf_counter() - start
    rounds = (
        settings.rounds if all_rounds else rounds_within(settings.budget, cost, settings.rounds)
    )
    return HeadToHead(by_turns(kept, rounds, settings.device), peaks, failed)


def within(
    runs: Runs, device: torch.device, seconds: float, least: int = 3, most: int = 25
) -> HeadToHead:
    """Run everything once to measure memory, then alternately while time is left.

    Args:
        runs: what to run, by name.
        device: the device that the work is done on.
        seconds: when no further round begins, the first runs included.
        least: number of rounds that are run however long they take.
        most: number of rounds after which another one tells nothing new.
    """
    end = time.perf_counter() + seconds
    kept, peaks, failed = _rehearsal(runs, device)
    return HeadToHead(by_turns_until(kept, end, device, least, most), peaks, failed)


def _rehearsal(
    runs: Runs, device: torch.device
) -> tuple[dict[str, Callable[[], Any]], dict[str, int], dict[str, str]]:
    """Return the runs that fit into memory, their peaks, and why the others are left out."""
    tried = {name: _rehearsed(run, device) for name, run in runs.items()}
    peaks = {name: peak for name, peak in tried.items() if peak is not None}
    failed = {name: "out of memory" for name in tried if name not in peaks}
    return {name: run for name, run in runs.items() if name in peaks}, peaks, failed


def _rehearsed(run: Callable[[], Any], device: torch.device) -> int | None:
    """Return the peak of a first run, or `None` if memory ran out."""
    try:
        return peak_bytes(run, device)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None
