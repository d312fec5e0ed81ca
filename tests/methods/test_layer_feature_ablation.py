"""Feature ablation of a layer against the rest of the network by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, seeded
from torch import nn

import torchattr as ta

MODEL = seeded(
    lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(64, 3),
    ).double()
)
X = noise(3, 2, 6, 6)
CHANNELS = torch.arange(4).reshape(1, 4, 1, 1)
EXACT = 1e-12


@pytest.mark.parametrize("incremental", ["auto", True, False])
@pytest.mark.parametrize("at_once", [None, 1, 3])
@pytest.mark.parametrize("of_input", [False, True])
def test_channels_are_replaced(incremental: Any, at_once: Any, of_input: bool) -> None:
    found = ta.LayerFeatureAblation(MODEL, "2").attribute(
        X,
        0.3,
        1,
        layer_mask=CHANNELS,
        attribute_to_layer_input=of_input,
        perturbations_per_eval=at_once,
        incremental=incremental,
    )
    cut = 2 if of_input else 3
    values, rest = MODEL[:cut](X).detach(), MODEL[cut:]
    expected = torch.zeros_like(values)
    for channel in range(4):
        changed = values.clone()
        changed[:, channel] = 0.3
        effect = (MODEL(X) - rest(changed))[:, 1].detach()
        expected[:, channel] = effect[:, None, None]
    assert_same(found, expected, EXACT)


def test_several_targets_and_the_predicted_class() -> None:
    method = ta.LayerFeatureAblation(MODEL, "2")
    both = method.attribute(X, target=ta.Classes(2, 0), layer_mask=CHANNELS)
    assert both.shape == (3, 2, 4, 4, 4)
    assert_same(both[:, 1], method.attribute(X, target=0, layer_mask=CHANNELS), EXACT)
    predicted = method.attribute(X, layer_mask=CHANNELS)
    named = method.attribute(X, target=MODEL(X).argmax(1), layer_mask=CHANNELS)
    assert_same(predicted, named, EXACT)


def test_the_model_is_left_as_it_is() -> None:
    ta.LayerFeatureAblation(MODEL, "2").attribute(X, target=1, layer_mask=CHANNELS)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in MODEL)
