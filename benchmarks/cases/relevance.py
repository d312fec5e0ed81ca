"""Relevance: torchattr against zennit, and on a transformer against the plain gradient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

import torchattr as ta
from benchmarks.cases.base import Case, Row
from benchmarks.cases.comparison import Comparison, Results, Sides
from benchmarks.measure.memory import MIB, remembered_bytes, state
from benchmarks.peers.zennit import relevance_of, without_eps
from benchmarks.report.text import number, table, timed
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task
from torchattr.layers import StabilisedSum

COMPOSITES = {
    "z⁺": "epsilon_plus",
    "α2β1": "epsilon_alpha2_beta1",
    "γ": "epsilon_gamma_box",
}
NETWORKS = ("vgg16", "resnet50")
TRANSFORMER = "vit_b_16"
TARGETS = 10
BOUNDS = (-6.0, 6.0)
"""Of the noise images, for the z_box rule of the first layer."""


class Relevance(Case):
    name = "relevance"
    title = "Relevance propagation"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        rows = []
        for network, group in groupby(_compared(settings), lambda one: one.network):
            subject = Subject.of(network, settings.size, settings.device)
            rows += [_with_memory(one, subject, settings) for one in group]
        return rows

    def tables(self, rows: Sequence[Row]) -> list[str]:
        head = ["what", "network", "batch", "torchattr, ms", "peer, ms", "remembered MiB, both"]
        text = (
            "Time in ms per call; in brackets torchattr's time as a share of the peer's, which is"
            " zennit, or for attention the plain gradient times the input. Remembered is what"
            " autograd keeps between forward and backward; what zennit's hooks keep comes on top."
            " Maps of LRP were compared with zennit's in float64 first."
        )
        return [text, "", *table(head, map(_cells, rows))]


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
    attention = Comparison("AttnLRP", TRANSFORMER, batch, _attention_sides, lambda task: [])
    return [*sorted([*rules, *many], key=lambda one: NETWORKS.index(one.network)), attention]


def _with_memory(one: Comparison, subject: Subject, settings: Settings) -> dict[str, Any]:
    """Return the figures of a comparison, with what autograd remembers for each side."""
    row = one.row(subject, settings)
    task = subject.task(one.name, one.batch).on_own_model()
    known = [*state(task.model), task.images]
    for name, run in one.sides(task).items():
        if "ms" in row["sides"][name]:
            row["sides"][name]["remembered_mib"] = remembered_bytes(run, known) / MIB
    sides = row["sides"]
    peer = next(name for name in sides if name != "torchattr")
    if all("remembered_mib" in side for side in sides.values()):
        ours, theirs = (sides[name]["remembered_mib"] for name in ("torchattr", peer))
        sides[peer]["remembered_ratio"] = ours / theirs
    return row


def _cells(row: Row) -> list[str]:
    ours = row["sides"]["torchattr"]
    (peer,) = (side for name, side in row["sides"].items() if name != "torchattr")
    return [
        row["name"],
        row["network"],
        str(row["batch"]),
        timed(ours),
        timed(peer),
        f"{number(ours.get('remembered_mib'))}, {number(peer.get('remembered_mib'))}",
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
        "zennit": lambda: [theirs(task.target)],
    }


def _many_sides(task: Task) -> Sides:
    without_eps(task.model)
    classes = [(task.target + step) % 1000 for step in range(TARGETS)]
    ours = _method(task.model, "epsilon_plus")
    theirs = relevance_of(task.on_own_model(), "epsilon_plus", BOUNDS)
    return {
        "torchattr": lambda: ours.attribute(task.images, ta.Classes(*classes)).unbind(1),
        "zennit": lambda: [theirs(one) for one in classes],
    }


def _right(composite: str, task: Task) -> Results:
    own = task.on_own_model()
    without_eps(own.model)
    return [relevance_of(own, composite, BOUNDS)(task.target)]


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
