"""Relevance: torchattr against zennit, DeepLIFT against Captum, attention against the gradient."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import captum.attr
import torch
from torch import Tensor, nn

import torchattr as ta
from benchmarks.cases.base import Case, Row
from benchmarks.cases.comparison import Comparison, Results, Sides
from benchmarks.measure.head_to_head import HeadToHead
from benchmarks.measure.memory import MIB, peak_bytes, remembered_bytes, state
from benchmarks.measure.timing import by_turns_until
from benchmarks.peers.zennit import relevance_of, without_eps
from benchmarks.report.text import number, say, table, timed
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task, quiet
from torchattr.layers import StabilisedSum

COMPOSITES = {
    "z⁺": "epsilon_plus",
    "α2β1": "epsilon_alpha2_beta1",
    "γ": "epsilon_gamma_box",
}
NETWORKS = ("vgg16", "resnet50")
DEEP_LIFT = ("vgg16",)
"""Captum's refuses networks that run a rectifier twice."""
TRANSFORMER = "vit_b_16"
TARGETS = 10
BOUNDS = (-6.0, 6.0)
"""Of the noise images, for the z_box rule of the first layer."""
CHECKED_SIZE = 96
"""Side of the images of the check in float64; a transformer takes no other size than its own."""


class Relevance(Case):
    name = "relevance"
    title = "Relevance propagation"
    how = (
        "All sides alternate in one process, at least twice, and more often where that takes less"
        " time; times are medians over the rounds, ratios are medians of the ratio in each round."
    )

    def run(self, settings: Settings) -> Iterator[dict[str, Any]]:
        for network, group in groupby(_compared(settings), lambda one: one.network):
            subject = Subject.of(network, settings.size, settings.device)
            for one in group:
                gc.collect()  # Peers hold the models of earlier comparisons in cycles.
                yield _row(one, subject, settings)

    def tables(self, rows: Sequence[Row]) -> list[str]:
        head = ["what", "network", "batch", "torchattr, ms", "peer, ms", "rounds", *_MEMORY]
        text = (
            "Time in ms per call; in brackets torchattr's time as a share of the peer's, which is"
            " zennit, for DeepLIFT Captum, for attention the plain gradient times the input."
            " Remembered is what is kept between forward and backward, for one image: what autograd"
            " saves, for zennit without and with what its hooks keep; in brackets torchattr's share"
            " of both. DeepLIFT keeps it elsewhere. Peak is the largest"
            " amount of tensors at once. Maps of LRP were compared with zennit's in float64 first;"
            " Captum's DeepLIFT differs where a pool follows an activation."
        )
        return [text, "", *table(head, map(_cells, rows))]


_MEMORY = ("remembered MiB, both", "peak MiB, both")


@dataclass(frozen=True)
class OnOwnModel:
    """A run on a model of its own, whose hooks may keep tensors beside what autograd saves."""

    run: Callable[[], Results]
    model: nn.Module
    kept: Callable[[], list[Tensor]] = list

    def __call__(self) -> Results:
        return self.run()


def _compared(settings: Settings) -> list[Comparison]:
    batch = settings.batch
    rules = [
        Comparison(title, network, batch, partial(_sides, composite), partial(_right, composite))
        for network in settings.among(NETWORKS)
        for title, composite in COMPOSITES.items()
    ]
    many = [
        Comparison("z⁺, 10 targets", network, 1, _many_sides, partial(_right, "epsilon_plus"))
        for network in settings.among(NETWORKS)
    ]
    deep_lift = [
        Comparison("DeepLIFT", network, batch, _deep_lift_sides, lambda task: [])
        for network in settings.among(DEEP_LIFT)
    ]
    attention = [
        Comparison("AttnLRP", network, batch, _attention_sides, lambda task: [])
        for network in settings.among([TRANSFORMER])
    ]
    every = [*rules, *many, *deep_lift, *attention]
    networks = list(dict.fromkeys(one.network for one in every))
    return sorted(every, key=lambda one: networks.index(one.network))


def _row(one: Comparison, subject: Subject, settings: Settings) -> dict[str, Any]:
    """Check every side, count the memory of the right ones for one image, and time them."""
    is_fixed = one.network == TRANSFORMER
    wrong = one.wrong_sides(subject if is_fixed else replace(subject, size=CHECKED_SIZE))
    # The memory of zennit's ten calls is that of one, which has a row of its own.
    is_measured = one.sides is not _many_sides
    alone = subject.task(one.name, 1).on_own_model()
    memory = _memory(one, alone, set(wrong)) if is_measured else {}
    runs = one.sides(subject.task(one.name, one.batch).on_own_model())
    kept = {name: quiet(run) for name, run in runs.items() if name not in wrong}
    least = 1 if settings.quick else 2
    end = time.perf_counter() + settings.budget
    times = by_turns_until(kept, end, settings.device, least, max(least, settings.rounds))
    measured = HeadToHead(times, dict.fromkeys(kept, 0), wrong)
    sides = measured.figures("torchattr")
    for name, figures in memory.items():
        sides[name] |= figures
    say(f"{one.name}, {one.network}:", ", ".join(f"{n} {timed(s)}" for n, s in sides.items()))
    return {
        "name": one.name,
        "network": one.network,
        "batch": one.batch,
        "rounds": measured.rounds,
        "sides": sides,
    }


def _memory(one: Comparison, task: Task, wrong: set[str]) -> dict[str, dict[str, float]]:
    """Return the memory of each right side in MiB, and what torchattr's is a share of."""
    runs = {name: run for name, run in one.sides(task).items() if name not in wrong}
    # DeepLIFT runs its pairs by itself, and what it keeps of them is not what autograd saves.
    saves = one.sides is not _deep_lift_sides
    found = {name: _memory_of(run, task, saves) for name, run in runs.items()}
    for name, side in found.items():
        if saves and name != "torchattr" and "torchattr" in found:
            ours = found["torchattr"]["remembered_mib"]
            side["remembered_ratio"] = ours / side["remembered_mib"]
            side["with_hooks_ratio"] = ours / side["with_hooks_mib"]
    return found


def _memory_of(run: Callable[[], Results], task: Task, saves: bool) -> dict[str, float]:
    own = run if isinstance(run, OnOwnModel) else OnOwnModel(run, task.model)
    known = [*state(own.model), task.images]
    silent = quiet(run)
    if not saves:
        return {"peak_mib": peak_bytes(silent, task.images.device) / MIB}
    return {
        "remembered_mib": remembered_bytes(silent, known) / MIB,
        "with_hooks_mib": remembered_bytes(silent, known, own.kept) / MIB,
        "peak_mib": peak_bytes(silent, task.images.device) / MIB,
    }


def _cells(row: Row) -> list[str]:
    ours = row["sides"]["torchattr"]
    (peer,) = (side for name, side in row["sides"].items() if name != "torchattr")
    share = number(peer.get("remembered_ratio")), number(peer.get("with_hooks_ratio"))
    remembered = f"{number(peer.get('remembered_mib'))} to {number(peer.get('with_hooks_mib'))}"
    return [
        row["name"],
        row["network"],
        str(row["batch"]),
        timed(ours),
        timed(peer),
        str(row["rounds"]),
        f"{number(ours.get('remembered_mib'))}, {remembered} ({share[0]} to {share[1]})",
        f"{number(ours.get('peak_mib'))}, {number(peer.get('peak_mib'))}",
    ]


def _method(model: nn.Module, composite: str) -> ta.LRP:
    """Return our method with zennit's conventions: stabilised sums, relevance that begins at 1."""
    norm = StabilisedSum(1e-6)
    rules = dict.fromkeys(("add", "avg_pool", "adaptive_avg_pool"), norm)
    low, high = BOUNDS
    return ta.LRP(model, composite, rules=rules, low=low, high=high, start="one")


def _sides(composite: str, task: Task) -> Sides:
    without_eps(task.model)
    ours = _method(task.model, composite)
    theirs = relevance_of(task.on_own_model(), composite, BOUNDS)
    return {
        "torchattr": lambda: [ours.attribute(task.images, task.target)],
        "zennit": OnOwnModel(lambda: [theirs(task.target)], theirs.model, theirs.kept_by_hooks),
    }


def _many_sides(task: Task) -> Sides:
    without_eps(task.model)
    classes = [(task.target + step) % 1000 for step in range(TARGETS)]
    ours = _method(task.model, "epsilon_plus")
    theirs = relevance_of(task.on_own_model(), "epsilon_plus", BOUNDS)
    return {
        "torchattr": lambda: ours.attribute(task.images, ta.Classes(*classes)).unbind(1),
        "zennit": OnOwnModel(
            lambda: [theirs(one) for one in classes], theirs.model, theirs.kept_by_hooks
        ),
    }


def _right(composite: str, task: Task) -> Results:
    own = task.on_own_model()
    without_eps(own.model)
    return [relevance_of(own, composite, BOUNDS)(task.target)]


def _deep_lift_sides(task: Task) -> Sides:
    ours = ta.DeepLift(task.model)
    own = task.on_own_model()
    theirs = captum.attr.DeepLift(own.model)
    return {
        "torchattr": lambda: [ours.attribute(task.images, task.target)],
        "captum": OnOwnModel(
            lambda: [theirs.attribute(own.images, target=own.target).detach()], own.model
        ),
    }


def _attention_sides(task: Task) -> Sides:
    ours = ta.AttnLRP(task.model)
    task.model.requires_grad_(False)

    def plain() -> list[Tensor]:
        leaf = task.images.clone().requires_grad_()
        score = task.model(leaf)[:, task.target].sum()
        return [torch.autograd.grad(score, leaf)[0] * task.images]

    return {
        "torchattr": lambda: [ours.attribute(task.images, task.target)],
        "input × gradient": plain,
    }
