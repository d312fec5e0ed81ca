"""Perturbed copies of images, and a model's scores of them from whole forwards."""

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
from torchattr.core.by_model import ByModel
from torchattr.core.inputs import Inputs
from torchattr.incremental import Incremental, Recomputed
from torchattr.incremental.cost import Estimate
from torchattr.layers import Trace
from torchattr.methods._perturbation.features import FeatureMasks
from torchattr.methods._perturbation.perturbation import Perturbation

ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Tolerance, relative to the range of the scores and 0."""


class Given(FeatureMasks):
    """Masks held as tensors, for each input `(masks, N or 1, C or 1, H, W)`."""

    def __init__(self, masks: Sequence[Tensor]) -> None:
        self._masks = masks

    def __len__(self) -> int:
        return len(self._masks[0])

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        return [mask[start:stop] for mask in self._masks]


def patches(random: np.random.Generator, count: int, x: Tensor, *, alike: bool = False) -> Tensor:
    """Draw patches at any position: at the borders, in the corners, empty, everywhere.

    Args:
        random: the random generator.
        count: number of patches.
        x: the images.
        alike: the same patch for all images.
    """
    images = 1 if alike else len(x)
    mask = torch.zeros(count, images, 1, *x.shape[2:], dtype=torch.bool)
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
    """The scores of an incremental run, and the model's own for the same copies.

    Attributes:
        found: the incremental scores.
        expected: the scores of whole images.
        recomputed: how much was recomputed incrementally.
        exact: the scores of whole images in float64, for networks in float32.
    """

    found: Tensor
    expected: Tensor
    recomputed: Recomputed
    exact: Tensor | None = None

    def agree(self) -> None:
        """Fail if they differ by more than rounding.

        Networks in float32 are judged by float64. Some convolutions of PyTorch itself are wrong
        in float32 (docs/limits.md); where its own forward is, nothing can be concluded.
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
    """Run a model both ways on the copies of some masks.

    Args:
        model: the model.
        inputs: the clean batch.
        masks: the elements that each copy replaces.
        cut: the first call from which everything is computed densely.
        baseline: what replaces it.
        backend: runs convolutions, pools and gathers.
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
            ways = [Estimate(entry, 1.0, 2.0) for entry in (cut, 0)]
            patch.setattr("torchattr.incremental.session.estimates", lambda *_: ways)
            # A plan of an earlier comparison has another cut.
            patch.setattr("torchattr.incremental.plan._plans", ByModel())
        way = Incremental(model, tensors, [], True, perturbation.boxes(0, copies), copies)
        around = way.around(model, perturbation.changes(0, copies), copies)
        found = Trace(around, [], differentiable=False).output
    return Compared(found, expected, way.recomputed, exact)


def _exactly(model: Callable[..., Any], copied: Sequence[Tensor]) -> Tensor | None:
    """Return the result of a float32 network in float64."""
    if not isinstance(model, nn.Module) or copied[0].dtype != torch.float32:
        return None
    result: Tensor = deepcopy(model).double()(*(one.double() for one in copied))
    return result
