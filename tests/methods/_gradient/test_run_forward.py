"""Which way a forward is differentiated, and that the choice changes no result."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

import torchattr as ta


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )


X = noise(2, 3, 8, 8)
METHODS = [ta.Saliency, ta.GuidedBackprop, ta.Deconvolution, ta.InputXGradient]


@pytest.mark.parametrize(
    "method",
    [*METHODS, ta.GradCAM, ta.GuidedGradCAM, ta.IntegratedGradients, ta.GradientShap],
)
def test_both_ways_agree(method: Any) -> None:
    model = seeded(net).double().eval()
    options = {"layer": "1"} if method in (ta.GradCAM, ta.GuidedGradCAM) else {}
    lean, native = (
        method(model, memory=way, **options).attribute(X, target=1) for way in ("lean", "native")
    )
    assert_same(native, lean, 1e-12)


def test_coverage_says_which_way_was_taken_and_why() -> None:
    model = seeded(net).double().eval()
    reasons = {
        way: ta.explain(model, X, ["guided_backprop"], memory=way).coverage.lean_because
        for way in ("auto", "native", "lean")
    }
    assert reasons == {"auto": "", "native": "", "lean": "it was asked for"}
    large = torch.rand(400, 3, 40, 40, dtype=torch.float64)
    model[4] = seeded(nn.Linear, 1444, 3).double()
    found = ta.explain(model, large, ["guided_backprop"]).coverage.lean_because
    assert found == "what it makes is large"


class Masked(nn.Module):
    """A rectifier that only the mode can see; counts its forwards."""

    runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return (x * (x > 0)).flatten(1)


def test_a_model_that_no_table_knows_is_tried_once() -> None:
    model = Masked().eval()
    for runs in (2, 3):
        explanation = ta.explain(model, X, ["guided_backprop"], 1)
        assert "mask" in explanation.coverage.lean_because
        assert model.runs == runs
    expected = torch.zeros_like(X).flatten(1)
    expected[:, 1] = (X.flatten(1)[:, 1] > 0).double()
    assert_same(explanation["guided_backprop"][:, 0].flatten(1), expected)


def test_a_graph_that_the_forward_uses_up_itself_is_built_again() -> None:
    """The gradient that it takes is a constant to the attribution, but frees what is needed."""

    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x).relu()
            scores = self.second(hidden)
            (inner,) = torch.autograd.grad(scores.square().sum(), hidden)
            return scores * 2 + inner.detach()[:, :3]

    model = seeded(Inside).double().eval()
    leaf = noise(4, 3).requires_grad_()
    scores = model.second(model.first(leaf).relu())
    (expected,) = torch.autograd.grad(2 * scores[:, 1].sum(), leaf)
    found = ta.Saliency(model).attribute(leaf.detach(), target=1, abs=False)
    assert_same(found, expected, 1e-12)


def test_a_backend_that_is_asked_for_serves() -> None:
    model = seeded(net).double().eval()
    with ta.backend("torch"):
        coverage = ta.explain(model, X, ["guided_backprop"]).coverage
        assert coverage.lean_because == "a backend was asked for"
        assert not ta.explain(model, X, ["saliency"], memory="native").coverage.lean_because
