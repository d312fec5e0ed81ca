"""What each kind of objective measures, one value per example."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, LayerError
from torchattr.inspect.maximisation.objectives import Goal

MODEL = seeded(
    lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).double()
)
X = noise(2, 3, 6, 6)


def measured(objective: Any, model: Any = MODEL, key: Any = None) -> Tensor:
    goal = Goal(model, objective, key)
    return goal.measure(goal.trace(X, ()), X).detach()


def test_scores_channels_layers_and_neurons() -> None:
    maps = MODEL[:2](X).detach()
    assert_same(measured(1), MODEL(X)[:, 1].detach(), 1e-12)
    assert_same(measured(("1", 2)), maps[:, 2].mean((1, 2)), 1e-12)
    assert_same(measured((MODEL[1], -1)), maps[:, 3].mean((1, 2)), 1e-12)
    assert_same(measured("1"), maps.square().mean((1, 2, 3)), 1e-12)
    assert_same(measured(ta.Neuron("1", (2, 0, 3))), maps[:, 2, 0, 3], 1e-12)
    of_input = ta.Neuron("3", 5, of_input=True)
    assert_same(measured(of_input), maps.flatten(1)[:, 5], 1e-12)


def test_scores_are_an_entry_of_the_output_only_where_scores_are_measured() -> None:
    class InDict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = MODEL

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"scores": self.net(x), "other": x}

    assert_same(measured(1, InDict(), "scores"), measured(1), 1e-12)
    assert_same(measured(("net.1", 2), InDict(), "no such entry"), measured(("1", 2)), 1e-12)


@pytest.mark.parametrize(
    ("error", "objective", "said"),
    [
        (InputError, None, "objective is missing"),
        (InputError, ("1", 4), "0 to 3"),
        (InputError, ("1", True), "out of range"),
        (LayerError, "seven", "no layer"),
    ],
)
def test_what_cannot_be_measured_is_refused(error: type, objective: Any, said: str) -> None:
    with refused(error, said):
        measured(objective)


def test_rows_that_are_no_images_are_refused() -> None:
    folded = nn.Sequential(nn.Conv2d(3, 4, 1).double(), nn.Flatten(0, 1), nn.Unflatten(0, (2, 4)))
    with refused(LayerError, "rows are not the 2 images"):
        measured("1", folded)
    assert torch.is_tensor(measured("0", folded))
