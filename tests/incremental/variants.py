"""Changed copies of pictures, and what a model makes of them as whole pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torchattr as ta
from torchattr.incremental import Incremental
from torchattr.incremental.cost import Estimate
from torchattr.inputs import Inputs
from torchattr.layers import Trace
from torchattr.methods.features import Masks
from torchattr.methods.perturbation import Perturbation

ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Of the range of the scores and 0."""


class Given(Masks):
    """Masks as they are, for each input `(masks, N or 1, C or 1, H, W)`."""

    def __init__(self, masks: Sequence[Tensor]) -> None:
        self._masks = masks

    def __len__(self) -> int:
        return len(self._masks[0])

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        return [mask[start:stop] for mask in self._masks]


def patches(random: np.random.Generator, count: int, x: Tensor, *, alike: bool = False) -> Tensor:
    """Draw patches of any place: at the borders, in the corners, nowhere, everywhere.

    Args:
        random: what draws them.
        count: how many.
        x: the pictures.
        alike: the same patch for all pictures.
    """
    pictures = 1 if alike else len(x)
    mask = torch.zeros(count, pictures, 1, *x.shape[2:], dtype=torch.bool)
    for variant in mask.flatten(0, 1):
        (top, bottom), (left, right) = (
            np.sort(random.integers(0, side + 1, 2)) for side in x.shape[2:]
        )
        kind = random.random()
        if kind < 0.15:
            top = left = 0
        elif kind < 0.3:
            bottom, right = x.shape[2:]
        elif kind < 0.35:
            top, left, (bottom, right) = 0, 0, x.shape[2:]
        variant[:, top:bottom, left:right] = True
    mask[0] = False
    return mask


@dataclass
class Compared:
    """What an incremental run gave, and what the model gives for the same copies.

    Attributes:
        found: the scores.
        expected: those of whole pictures.
        recomputed: what was followed.
    """

    found: Tensor
    expected: Tensor
    recomputed: ta.methods.ablation.Recomputed

    def agree(self) -> None:
        """Fail if they differ by more than rounding."""
        assert self.found.shape == self.expected.shape
        assert self.found.dtype == self.expected.dtype
        known = self.expected.isfinite()
        assert torch.equal(self.found.isfinite(), known)
        expected, found = self.expected[known], self.found[known]
        if expected.numel():
            span = float(expected.max().clamp(min=0) - expected.min().clamp(max=0))
            difference = float((found - expected).abs().max())
            allowed = ROUNDING[expected.dtype] * span
            assert difference <= allowed, f"differs by {difference:.2e}, allowed {allowed:.2e}"


def compared(
    model: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    masks: Tensor | tuple[Tensor, ...],
    *,
    cut: int | None = None,
    baseline: float | Tensor = 0.3,
    backend: str = "torch",
) -> Compared:
    """Run a model both ways on the copies that some masks make.

    Args:
        model: the model.
        inputs: the clean batch.
        masks: what is replaced in each copy.
        cut: from which call on everything is computed as a whole.
        baseline: what replaces it.
        backend: what runs the hot parts.
    """
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    given = Given(masks if isinstance(masks, tuple) else (masks,))
    perturbation = Perturbation(Inputs(tensors, True), [baseline] * len(tensors), given)
    copies = len(given)
    with torch.no_grad():
        expected = model(*(one.clone() for one in perturbation.perturbed(0, copies)))
    with ta.backend(backend), pytest.MonkeyPatch.context() as patch:
        if cut is not None:
            ways = [Estimate(place, 1.0, 2.0) for place in (cut, 0)]
            patch.setattr("torchattr.incremental.incremental.estimates", lambda *_: ways)
        way = Incremental(model, tensors, [], True, perturbation.boxes(0, copies), copies)
        around = way.around(model, perturbation.changes(0, copies), copies)
        found = Trace(around, [], differentiable=False).output
    return Compared(found, expected, way.recomputed)
