"""Correctness before timing: a library with a wrong result gets the reason instead of a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.measure.reference import gradient, guided_grad_cam, reference
from benchmarks.peers.base import Library
from benchmarks.tasks import Task

RAISED = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, LookupError)

WITH_RULES = {
    "GuidedBackprop": gradient,
    "Deconvolution": gradient,
    "GuidedGradCAM": lambda task: guided_grad_cam(task, "gradient"),
}
"""Each rule-based method without its rules: the result of a library that misses a rectifier."""


@dataclass(frozen=True)
class Verdict:
    """The difference of a result from the reference, and what is wrong with it."""

    difference: float | None = None
    wrong: str | None = None


def judge(
    library: Library,
    task: Task,
    right: Tensor | None = None,
    *,
    model: nn.Module | None = None,
) -> Verdict:
    """Compare a library's result, in its own form, with the reference; in float64.

    Args:
        library: the library to check.
        task: what it computes.
        right: the correct result, if already known.
        model: a model that should behave like the task's, used instead of it.
    """
    if task.method in library.one_image_methods:
        task, right = task.for_first_image(), None
    right = reference(task) if right is None else right
    try:
        found = library.run(task.on(model) if model else task.on_own_model())().detach()
    except RAISED as error:
        return Verdict(wrong=f"raises {type(error).__name__}: {_first_sentence(error)}")
    expected = library.in_own_form(task, right)
    if found.shape != expected.shape:
        return Verdict(wrong=f"gives {tuple(found.shape)} instead of {tuple(expected.shape)}")
    apart = difference(found, expected)
    if apart <= library.allowed(task.method):
        return Verdict(apart)
    return Verdict(apart, _diagnosis(library, found, task, apart))


def difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest expected magnitude."""
    if not expected.any():
        raise ValueError("nothing is compared: the expected values are all zero")
    apart = (found.to(expected) - expected).abs().max() / expected.abs().max()
    return float(apart.nan_to_num(torch.inf))


def _diagnosis(library: Library, found: Tensor, task: Task, apart: float) -> str:
    """Describe a wrong result: whether it is the method with plain gradients."""
    if task.method in WITH_RULES:
        plain = library.in_own_form(task, WITH_RULES[task.method](task))
        if difference(found, plain) <= library.allowed(task.method):
            return "gives the plain gradient"
    return f"wrong by {apart:.2g} of the largest value"


def _first_sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[0].split(". ")[0][:120] if str(error).strip() else ""
