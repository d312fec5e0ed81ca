"""Incremental ablation against whole forwards, in a separate process: `... time` or `growth`.

The allocator is set from outside, the same for all sides. A side that runs full forwards may be
stopped after some of them: all its forwards cost the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cases.occlusion_tasks import OcclusionTask, occlusion_task
from benchmarks.measure.child import grown
from benchmarks.measure.memory import MIB, peak_bytes
from benchmarks.measure.timing import extrapolated, milliseconds, ratio, synchronize
from benchmarks.tasks import network, predicted, quiet
from torchattr.incremental.op_counts import OpCounts
from torchattr.incremental.schedule import Schedule, lower_tape
from torchattr.incremental.tape import TapeMode

CHECKED = 32
"""Number of positions that are computed independently."""
ALLOWED = 1e-4
"""Largest allowed difference from these, relative to the range of their scores."""
SOON = 1e-9
"""Seconds after which a rehearsal stops: two forwards suffice to check results and memory."""
WRONG = {"wrong": f"differs by more than {ALLOWED:g}"}


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        seconds: for all positions.
        scores: by position, of those that were run.
        recomputed: torchattr's own report of what it recomputed.
    """

    seconds: float
    scores: Mapping[int, float]
    recomputed: str = ""


class Stopped(Exception):
    """Stops a run of which enough was timed."""


class Watched:
    """A model that records its forwards, the clean one first.

    Args:
        model: the model.
        target: the class whose scores are recorded.
        seconds: when to stop, but not before two forwards of perturbed copies; 0 for never.
    """

    def __init__(self, model: Any, target: int, seconds: float) -> None:
        self._model, self._target, self._seconds = model, target, seconds
        self._begun = 0.0
        self._scores: list[float] = []
        self._ends: list[tuple[int, float]] = []

    def outcome(self, ask: Callable[[Any], Any], positions: Any) -> Outcome:
        """Run a method on this model; `positions` are in the order in which it visits them."""

        def forward(x: Tensor) -> Tensor:
            return self._forward(x)

        self._begun = begun = perf_counter()
        try:
            ask(forward)
            seconds = perf_counter() - begun
        except Stopped:
            (fewer, first), (few, last) = self._ends[1], self._ends[-1]
            counts, whole = (fewer, few), len(positions)
            seconds = extrapolated(last - begun, first - begun, counts, whole)
        return Outcome(seconds, dict(zip(positions, self._scores[1:], strict=False)))

    def _forward(self, x: Tensor) -> Tensor:
        output = self._model(x)
        synchronize(x.device)
        self._scores += output[:, self._target].tolist()
        self._ends.append((len(self._scores) - 1, perf_counter()))
        spent = self._ends[-1][1] - self._begun
        if self._seconds and spent > self._seconds and len(self._ends) > 2:
            raise Stopped
        return output


def incremental(asked: OcclusionTask, model: Any, target: int, seconds: float) -> Outcome:
    """Run all positions, however long it takes."""
    scores: list[Tensor] = []

    def noted(output: Tensor) -> Tensor:
        scores.append(output[:, target])
        return scores[-1]

    synchronize(asked.picture.device)
    begun = perf_counter()
    report = asked.ours(model, noted, "auto")
    synchronize(asked.picture.device)
    seconds = perf_counter() - begun
    found = torch.cat(scores)[-len(asked) :].tolist()
    return Outcome(seconds, dict(enumerate(found)), report)


def dense(asked: OcclusionTask, model: Any, target: int, seconds: float) -> Outcome:
    watched = Watched(model, target, seconds)
    return watched.outcome(lambda forward: asked.ours(forward, target, False), range(len(asked)))


def captums(asked: OcclusionTask, model: Any, target: int, seconds: float) -> Outcome:
    watched = Watched(model, target, seconds)
    return watched.outcome(lambda forward: asked.captums(forward, target), asked.captums_order)


SIDES = {"torchattr": incremental, "dense": dense, "captum": captums}


@torch.no_grad()
def by_hand(asked: OcclusionTask, model: Any, target: int) -> dict[int, float]:
    """Compute the scores of the corners, the first positions in each order, and random ones.

    No library is involved.
    """
    count = len(asked)
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(2)).tolist()
    first = [0, count - 1, 1, *asked.captums_order[1:3]]
    checked = list(dict.fromkeys([*first, *shuffled]))[:CHECKED]
    return {index: float(model(asked.without(index))[0, target]) for index in checked}


def difference(found: Mapping[int, float], right: Mapping[int, float]) -> float:
    """Return the largest difference of scores, relative to the range of the correct ones."""
    apart = [abs(found[place] - score) for place, score in right.items() if place in found]
    span = max(right.values()) - min(right.values())
    if not apart or not span:
        raise ValueError("nothing is compared: no positions, or all have the same score")
    return float("inf") if any(one != one for one in apart) else max(apart) / span


def bound(asked: OcclusionTask, model: Any) -> float:
    """Return the multiply-adds of full forwards over those that the positions can reach.

    What does not keep pixels apart, such as the last linear layers, counts as a whole.
    """
    recording, counter = TapeMode([asked.picture]), FlopCounterMode(display=False)
    with torch.no_grad(), counter, recording:
        output = model(asked.picture)
    recording.finish(output)
    read = lower_tape(recording.tape, 1)
    plan = Schedule(read, len(read.operators))
    boxes = plan.boxes({0: asked.boxes()})
    total = counter.get_total_flops() / 2
    spared = sum(
        _multiply_adds(step.op_counts(step.grid.pixels, 4))
        - _multiply_adds(step.op_counts(boxes[step.output].rows, 4)) / len(asked)
        for step in plan.operators
    )
    return total / (total - spared)


def _multiply_adds(work: OpCounts) -> int:
    return sum(count for kind, count in work.items() if kind != "bytes")


def timed(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Check every side, then time the correct ones alternately; one row per task."""
    model, device = network(options.network, options.size), torch.device(options.device)
    model.to(device)
    asked = [occlusion_task(one, options.size, device) for one in options.what]
    return [_row(one, model, predicted(model, one.picture), options) for one in asked]


def _row(
    asked: OcclusionTask, model: Any, target: int, options: argparse.Namespace
) -> dict[str, Any]:
    right = by_hand(asked, model, target)
    rehearsed = {
        name: SIDES[name](asked, model, target, options.seconds and SOON) for name in options.sides
    }
    apart = {name: difference(outcome.scores, right) for name, outcome in rehearsed.items()}
    kept = [name for name, one in apart.items() if one <= ALLOWED]
    runs = [
        {name: SIDES[name](asked, model, target, options.seconds) for name in kept}
        for _ in range(options.rounds)
    ]
    figures = _figures(runs, len(asked))
    return {
        "network": options.network,
        "what": asked.name,
        "places": len(asked),
        "bound": bound(asked, model),
        "told": rehearsed["torchattr"].recomputed,
        "rounds": options.rounds,
        "sides": {
            name: {"difference": one, **figures.get(name, WRONG)} for name, one in apart.items()
        },
    }


def _figures(runs: Sequence[Mapping[str, Outcome]], positions: int) -> dict[str, dict[str, Any]]:
    """Return each side's ms per position, and that as a multiple of torchattr's."""
    times = {name: [run[name].seconds for run in runs] for name in runs[0]}
    found: dict[str, dict[str, Any]] = {}
    for name, taken in times.items():
        found[name] = {"ms": milliseconds(taken, positions), "looked_at": len(runs[0][name].scores)}
        if name != "torchattr" and "torchattr" in times:
            found[name]["times"] = ratio(times, name, "torchattr")
    return found


def growth(options: argparse.Namespace) -> float:
    """Return the maximum growth of memory in use during a run, in MiB."""
    model, device = network(options.network, options.size), torch.device(options.device)
    model.to(device)
    (what,), (side,) = options.what, options.sides
    asked = occlusion_task(what, options.size, device)
    coarse = occlusion_task(f"{options.size // 2}/{options.size // 2}", options.size, device)
    target = predicted(model, asked.picture)

    def run(task: OcclusionTask) -> Callable[[], Any]:
        return quiet(lambda: SIDES[side](task, model, target, options.seconds and SOON))

    if device.type == "cuda":
        run(coarse)()
        return peak_bytes(run(asked), device) / MIB
    return grown(run(asked), run(coarse)) / MIB


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cases.ablation", description=__doc__
    )
    parser.add_argument("measure", choices=("time", "growth"))
    parser.add_argument("--network", required=True)
    parser.add_argument("--what", action="append", required=True, help="16/8, 100 superpixels")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seconds", type=float, default=0.0, help="stop whole forwards then")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(json.dumps({"time": timed, "growth": growth}[options.measure](options)))


if __name__ == "__main__":
    main()
