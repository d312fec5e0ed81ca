"""The weights do what they are said to."""

from __future__ import annotations

import pytest
import torch

from torchattr.evaluate.ground_truth.planted_networks import (
    CELLS,
    CLASSES,
    SIDE,
    checks,
    detectors,
    stripes,
)
from torchattr.evaluate.ground_truth.plants import PLANTS


@torch.no_grad()
def test_a_detector_answers_to_its_pattern_only() -> None:
    conv = detectors(checks(), stripes())
    for index, pattern in enumerate((checks(), stripes())):
        shown = ((1 + pattern) / 2)[None]
        answers = conv(shown)[0, :, 0, 0]
        assert answers[index] == 0.5
        assert answers[1 - index] == -0.25
    for grey in (0.0, 0.5, 1.0):
        assert bool((conv(torch.full((1, 3, 4, 4), grey)) == -0.25).all())


@pytest.mark.parametrize("name", PLANTS)
@torch.no_grad()
def test_only_the_explained_class_depends_on_anything(name: str) -> None:
    pictures, _ = PLANTS[name].pictures(3, 0)
    assert pictures.inputs.shape == (3, 3, SIDE, SIDE)
    scores = pictures.model(pictures.inputs)
    assert scores.shape == (3, CLASSES)
    assert bool((scores.argmax(1) == pictures.targets).all())
    others = [k for k in range(CLASSES) if k != 1]
    assert bool((scores[:, others] == 0).all())
    assert SIDE == 4 * CELLS
