"""Choose by measurement how a prepared model runs: candidates are data, the fastest is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from torchattr.errors import InputError

Choice = bool | Literal["measure"]

ROUNDS = 5
PATIENCE = 10.0
"""Seconds after which no further round begins; at least one runs."""

WORTHWHILE = 0.97
"""What is not simplest is chosen below this ratio of the times; a difference above may be noise."""


@dataclass(frozen=True)
class Configuration:
    """How a prepared model runs; it computes the same in each.

    Attributes:
        channels_last: whether images and folded weights are in channels-last memory.
        cudnn_benchmark: whether cuDNN times its algorithms for each new shape.
    """

    channels_last: bool = False
    cudnn_benchmark: bool = False

    def __str__(self) -> str:
        order = "channels-last" if self.channels_last else "contiguous"
        return f"{order} with cudnn.benchmark" if self.cudnn_benchmark else order


SIMPLEST = Configuration()


@dataclass(frozen=True)
class Option:
    """One setting of a configuration: the values that are tried, and why no others."""

    values: tuple[bool, ...]
    why: str


@dataclass(frozen=True)
class Decision:
    """How a model runs, and why.

    Attributes:
        configuration: the chosen one.
        why: the reason of each setting, by its name.
        seconds: the best time of each candidate; empty if there was only one.
        measured: what was timed.
    """

    configuration: Configuration
    why: Mapping[str, str]
    seconds: Mapping[Configuration, float] = field(default_factory=dict)
    measured: str = ""

    @property
    def channels_last(self) -> bool:
        return self.configuration.channels_last

    def rows(self) -> list[tuple[str, str]]:
        """Return each setting, and the times of all candidates if there were several."""
        chosen = vars(self.configuration)
        settings = [
            (HEADINGS[name], f"{'yes' if chosen[name] else 'no'}: {why}")
            for name, why in self.why.items()
        ]
        return [*settings, ("measured", self._times())] if self.seconds else settings

    def _times(self) -> str:
        shown = (f"{one} {1e3 * taken:.1f} ms" for one, taken in self.seconds.items())
        return f"{', '.join(shown)} ({self.measured})"


HEADINGS = {"channels_last": "channels-last", "cudnn_benchmark": "cudnn.benchmark"}
Options = Mapping[str, Option]
T = TypeVar("T")


def check_choice(name: str, choice: Any) -> None:
    """Check the choice of a setting.

    Raises:
        InputError: it is neither a bool nor `"measure"`.
    """
    if choice not in (True, False, "measure"):
        raise InputError(f"{name} must be 'measure', True or False, got {choice!r}")


def option(choice: Choice, refusal: str | None) -> Option:
    """Return what a setting may be: as requested, or both values unless one is refused."""
    if choice != "measure":
        return Option((choice,), "as requested")
    return Option((False, True), "measured") if refusal is None else Option((False,), refusal)


def options(
    channels_last: Choice, cudnn_benchmark: Choice, inputs: Sequence[Tensor], has_convolutions: bool
) -> dict[str, Option]:
    """Return the settings of a model on its example inputs.

    Args:
        channels_last: the choice of the memory order.
        cudnn_benchmark: the choice for cuDNN's algorithms.
        inputs: the example inputs.
        has_convolutions: whether the model has two-dimensional convolutions.
    """
    is_flat = not has_convolutions or not any(tensor.dim() == 4 for tensor in inputs)
    flat = "no two-dimensional convolution on a four-dimensional input" if is_flat else None
    return {
        "channels_last": option(channels_last, flat),
        "cudnn_benchmark": option(cudnn_benchmark, flat or _without_search(inputs[0].device)),
    }


def _without_search(device: torch.device) -> str | None:
    """Return why cuDNN does not search for algorithms here."""
    if device.type != "cuda":
        return "not on a GPU"
    if torch.backends.cudnn.benchmark:
        return "already set by torch.backends.cudnn.benchmark"
    if torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled():
        return "deterministic algorithms are requested, and which one is found is not"
    return None


def candidates(options: Options) -> list[Configuration]:
    """Return the configurations that are tried, from the simplest on.

    >>> both = {"channels_last": Option((False, True), "measured")}
    >>> print(*candidates(both), sep=", ")
    contiguous, channels-last
    """
    names = [*options][::-1]
    values = product(*(options[name].values for name in names))
    return [Configuration(**dict(zip(names, one, strict=True))) for one in values]


def decide(
    options: Options,
    run_of: Callable[[Sequence[Configuration]], Mapping[Configuration, Callable[[], Any]]],
    inputs: Sequence[Tensor],
) -> Decision:
    """Decide for the fastest configuration, by running all of them alternately.

    Args:
        options: the settings.
        run_of: returns the run of each candidate: forward and backward.
        inputs: the example inputs.
    """
    tried = candidates(options)
    why = {name: one.why for name, one in options.items()}
    if len(tried) == 1:
        return Decision(tried[0], why)
    device = inputs[0].device
    times = alternate(run_of(tried), device)
    # Other load on the machine only adds time, so the minimum is the best estimate.
    best = {one: min(times[one]) for one in tried}
    measured = (
        f"best of {len(times[tried[0]])}, alternating; forward, gradient and guided backward of"
        f" {tuple(inputs[0].shape)} on {device.type}"
    )
    return Decision(fastest(best), why, best, measured)


def fastest(times: Mapping[Configuration, float]) -> Configuration:
    """Return the fastest of configurations that stand from the simplest on.

    One is left for another only where that saves more than noise may feign.
    """
    chosen, *others = times
    for other in others:
        if times[other] < WORTHWHILE * times[chosen]:
            chosen = other
    return chosen


def alternate(runs: Mapping[T, Callable[[], Any]], device: torch.device) -> dict[T, list[float]]:
    """Time each run once per round, after an untimed warm-up round."""
    times: dict[T, list[float]] = {name: [] for name in runs}
    spent = sum(_seconds(run, device) for run in runs.values())
    for number in range(ROUNDS):
        if number and spent >= PATIENCE:
            break
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
