"""torchattr against a peer on tasks with many results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from benchmarks.measure.agreement import RAISED, difference
from benchmarks.measure.head_to_head import head_to_head
from benchmarks.peers.base import EXACT
from benchmarks.report.text import say, timed
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task, quiet

Results = Sequence[Tensor]
Sides = Mapping[str, Callable[[], Results]]


@dataclass(frozen=True)
class Comparison:
    """Several results of one kind, from every side.

    Attributes:
        name: what is compared, for the tables and targets.
        network: name of the network.
        batch: number of images.
        sides: makes the runs of a task, by name of the side.
        right: returns the correct results in the same order; if fewer, those of the first ones.
            None where the sides compute different things.
        allowed: largest difference from them, as a share of the largest value: more for a side that
            works in float32 whatever the model.
        checked: makes the runs that are checked, if not those that are timed: fewer points, or
            draws that do not matter.
        checked_size: side of the images of the check, if not that of the timed ones.
    """

    name: str
    network: str
    batch: int
    sides: Callable[[Task], Sides]
    right: Callable[[Task], Results]
    allowed: float = EXACT
    checked: Callable[[Task], Sides] | None = None
    checked_size: int | None = None

    def row(self, subject: Subject, settings: Settings) -> dict[str, Any]:
        """Check every side in float64, then time the correct ones."""
        wrong = self.wrong_sides(subject)
        runs = self.sides(subject.task(self.name, self.batch).on_own_model())
        kept = {name: quiet(run) for name, run in runs.items() if name not in wrong}
        measured = head_to_head(kept, settings, all_rounds=not settings.quick)
        sides = {name: {"wrong": why} for name, why in wrong.items()} | measured.figures(
            "torchattr"
        )
        say(f"{self.name}, {self.network}:", ", ".join(f"{n} {timed(s)}" for n, s in sides.items()))
        return {
            "name": self.name,
            "network": self.network,
            "batch": self.batch,
            "rounds": measured.rounds,
            "sides": sides,
        }

    def wrong_sides(self, subject: Subject) -> dict[str, str]:
        """Return the error of each side whose results are wrong."""
        size = self.checked_size or subject.size
        task = replace(subject.exact, size=size).task(self.name, 1)
        right = self.right(task)
        sides = self.checked or self.sides
        verdicts = {
            name: _verdict(quiet(run), right, self.allowed)
            for name, run in sides(task.on_own_model()).items()
        }
        return {name: why for name, why in verdicts.items() if why}


def out_of_place(model: nn.Module) -> nn.Module:
    """Make a model's ReLUs out-of-place; modifies the model."""
    for part in model.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False
    return model


def _verdict(run: Callable[[], Results], right: Results, allowed: float) -> str | None:
    try:
        found = run()
    except RAISED as error:
        return f"raises {type(error).__name__}: {str(error)[:120]}"
    pairs = list(zip(found, right, strict=False))
    apart = max((difference(one.detach(), expected) for one, expected in pairs), default=0.0)
    return f"wrong by {apart:.2g} of the largest value" if apart > allowed else None
