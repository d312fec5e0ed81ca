"""Feature permutation of a layer against that of the rest of the network."""

from __future__ import annotations

import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

import torchattr as ta

MODEL = seeded(lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double())
X = noise(4, 3)


def test_it_is_the_permutation_of_the_rest_of_the_network() -> None:
    rest = ta.FeaturePermutation(MODEL[1:])
    found = ta.LayerFeaturePermutation(MODEL, "0").attribute(X, 1, seed=2)
    assert_same(found, rest.attribute(MODEL[0](X).detach(), 1, seed=2), 1e-12)
    inner = ta.LayerFeaturePermutation(MODEL, "1")
    of_input = inner.attribute(X, 1, attribute_to_layer_input=True, seed=2)
    assert_same(of_input, found, 1e-12)


def test_a_function_of_the_caller_permutes_groups() -> None:
    def rolled(x: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, x.roll(1, 0), x)

    mask = torch.tensor([0, 0, 1, 1, 1])
    found = ta.LayerFeaturePermutation(MODEL, "0", rolled).attribute(X, 1, layer_mask=mask)
    values = MODEL[0](X).detach()
    for number in (0, 1):
        changed = torch.where(mask == number, values.roll(1, 0), values)
        effect = (MODEL(X) - MODEL[1:](changed))[:, 1].detach()
        expected = effect[:, None].expand(-1, int((mask == number).sum()))
        assert_same(found[:, mask == number], expected, 1e-12)
