"""Changed copies of pictures, and what a model makes of them as whole pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import note
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.inputs import Inputs
from torchattr.incremental import Incremental, Recomputed
from torchattr.incremental.cost import Estimate
from torchattr.layers import Trace
from torchattr.methods._perturbation.features import FeatureMasks
from torchattr.methods._perturbation.perturbation import Perturbation

ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Of the range of the scores and 0."""


class Given(FeatureMasks):
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
        exact: those of whole pictures in float64, for networks in float32.
    """

    found: Tensor
    expected: Tensor
    recomputed: Recomputed
    exact: Tensor | None = None

    def agree(self) -> None:
        """Fail if they differ by more than rounding.

        Networks in float32 are judged by float64. Some convolutions of PyTorch itself are wrong
        in float32 (docs/limits.md); where its own forward is, nothing can be said.
        """
        assert self.found.shape == self.expected.shape
        assert self.found.dtype == self.expected.dtype
        right = self.expected if self.exact is None else self.exact
        if self.exact is not None and _difference(self.expected, right) > _allowed(self.expected):
            note("PyTorch's own float32 forward disagrees with its float64 forward: not compared")
            return
        known = right.isfinite()
        assert torch.equal(self.found.isfinite(), known)
        difference, allowed = _difference(self.found, right), _allowed(self.expected)
        assert difference <= allowed, f"differs by {difference:.2e}, allowed {allowed:.2e}"


def _difference(found: Tensor, right: Tensor) -> float:
    known = right.isfinite()
    both = (found[known].double() - right[known].double()).abs()
    return float(both.nan_to_num(inf).max()) if both.numel() else 0.0


def _allowed(expected: Tensor) -> float:
    known = expected[expected.isfinite()]
    if not known.numel():
        return 0.0
    span = float(known.max().clamp(min=0) - known.min().clamp(max=0))
    return ROUNDING[expected.dtype] * span


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
        copied = perturbation.perturbed(0, copies)
        exact = _exactly(model, copied)
        expected = model(*(one.clone() for one in copied))
    with ta.backend(backend), pytest.MonkeyPatch.context() as patch:
        if cut is not None:
            ways = [Estimate(place, 1.0, 2.0) for place in (cut, 0)]
            patch.setattr("torchattr.incremental.session.estimates", lambda *_: ways)
        way = Incremental(model, tensors, [], True, perturbation.boxes(0, copies), copies)
        around = way.around(model, perturbation.changes(0, copies), copies)
        found = Trace(around, [], differentiable=False).output
    return Compared(found, expected, way.recomputed, exact)


def _exactly(model: Callable[..., Any], copied: Sequence[Tensor]) -> Tensor | None:
    """Return what a network in float32 gives in float64."""
    if not isinstance(model, nn.Module) or copied[0].dtype != torch.float32:
        return None
    result: Tensor = deepcopy(model).double()(*(one.double() for one in copied))
    return result
