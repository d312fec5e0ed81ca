"""The reference against plain autograd."""

from __future__ import annotations

from dataclasses import replace

import torch
from helpers import assert_same
from tiny import task
from torch import nn

from benchmarks.measure.reference import back_projection, gradient, reference


def test_reference_of_the_plain_gradient_is_autograds() -> None:
    given = task("Saliency")
    leaf = given.images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(given.model(leaf)[:, 1].sum(), leaf)
    assert_same(gradient(given), grad)


def test_reference_of_grad_cam_does_not_mind_in_place() -> None:
    given = task("GradCAM")
    model = given.on_own_model().model
    model.relu = nn.ReLU(inplace=True)
    assert_same(reference(replace(given, model=model)), reference(given))


def test_reference_of_ablation_is_constant_on_each_cell() -> None:
    given = task("FeatureAblation")
    assert given.grid.unique().tolist() == list(range(9))
    found = reference(given)
    for cell in range(9):
        inside = found[:, :, given.grid[0, 0] == cell]
        assert (inside == inside[:, :1, :1]).all()


def test_reference_of_a_back_projection_starts_where_asked() -> None:
    given = task("", images=1)
    whole, largest = (back_projection(given, "second", [2], start)[0] for start in ("map", "max"))
    assert (whole != 0).sum() > (largest != 0).sum() > 0
