"""Flipped gates are counted separately for each kind."""

from __future__ import annotations

import copy

import pytest
import torch
from foldable import Net, Sequential, network
from helpers import noise, refused
from torch import Tensor, nn

from torchattr.errors import InputError
from torchattr.preparation import flipped_gates
from torchattr.preparation.gates import Flips

X = noise(3, 3, 14, 14)


def small() -> nn.Sequential:
    """Two inputs, two hidden units, one score: `relu(a) · 1 + relu(b) · (−1)`."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
    return model


def test_a_model_does_not_differ_from_itself() -> None:
    model = network(Sequential)
    flips = flipped_gates(model, copy.deepcopy(model), [X])
    gates = 3 * (6 * 14 * 14 + 8 * 6 * 6 + 10)
    assert flips.forward == flips.guided == flips.deconvolution == Flips(0, gates)


def test_each_kind_counts_what_it_opens() -> None:
    one, other = small(), small()
    x = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    with torch.no_grad():
        other[0].weight[0, 0] = -1  # The first unit is open for the other example only.
    flips = flipped_gates(one, other, [x])
    assert flips.forward == Flips(2, 4)
    assert flips.guided == Flips(2, 4)
    assert flips.deconvolution == Flips(0, 4)
    other = small()
    with torch.no_grad():
        other[2].weight.neg_()  # All signals have the other sign; both units are open once or more.
    flips = flipped_gates(one, other, [x])
    assert flips.forward == Flips(0, 4)
    assert flips.guided == Flips(3, 4)
    assert flips.deconvolution == Flips(4, 4)
    assert str(flips.guided) == "3 of 4 (75%)"
    assert "guided 3 of 4" in str(flips)
    assert Flips(0, 0).share == 0


def test_an_upper_bound_closes_a_gate() -> None:
    model = nn.Sequential(nn.ReLU6(), nn.Linear(3, 1))
    other = nn.Sequential(nn.ReLU(), model[1])
    assert flipped_gates(model, other, [torch.tensor([[1.0, 7.0, -1.0]])]).forward == Flips(1, 3)


@pytest.mark.parametrize("target", [1, [0, 1, 2], None, lambda scores: scores[:, 0]])
def test_targets(target: object) -> None:
    assert flipped_gates(network(Net), network(Net), [X], target=target).guided.flipped == 0


def test_models_with_other_rectifiers_are_refused() -> None:
    def smooth(x: Tensor) -> Tensor:
        return x.flatten(1)

    with refused(InputError, "do not run the same ReLUs", "2", "0"):
        flipped_gates(network(Net), smooth, [X])
