"""Excitation backprop against walks over dense matrices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

import torchattr as ta

IMAGES = noise(2, 2, 7, 6).abs()


def network() -> Any:
    """Return convolutions, with biases that leave most units open, a pool and a head."""
    model: Any = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 3, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(12, 5),
        )
    ).double()
    model[3].bias.data.fill_(0.3)
    return model


def dense(layer: Any, shape: torch.Size) -> Tensor:
    """Return the matrix of a linear layer, `(outputs, inputs)`, without its bias."""
    rows = torch.eye(shape.numel(), dtype=torch.float64).view(-1, *shape)
    zero = layer(torch.zeros(1, *shape, dtype=torch.float64))
    return (layer(rows) - zero).detach().flatten(1).T


def walked(model: Any, x: Tensor, target: int, down_to: int, sign: float) -> Tensor:
    """Return the probability of each input of a part, after a walk from the target.

    Args:
        model: the network.
        x: one image.
        target: the class.
        down_to: the position of the part.
        sign: 1, or -1 for a walk from the target's opposite.
    """
    values = [x[None]]
    for part in model:
        values.append(part(values[-1]).detach())
    chance = torch.zeros(5, dtype=torch.float64)
    chance[target] = 1.0
    for position in reversed(range(down_to, len(model))):
        part, below = model[position], values[position][0]
        if isinstance(part, (nn.ReLU, nn.Flatten)):
            continue
        weights = dense(part, below.shape) * (sign if position == len(model) - 1 else 1.0)
        shares = weights.clamp(min=0) * below.flatten()
        totals = shares.sum(1, keepdim=True)
        chance = chance @ torch.where(totals > 0, shares / totals, 0.0)
    return chance.view_as(values[down_to][0])


def expected(model: Any, targets: list[int], down_to: int, *, contrast: bool) -> Tensor:
    found = []
    for x, target in zip(IMAGES, targets, strict=True):
        walk = walked(model, x, target, down_to, 1.0)
        opposite = walked(model, x, target, down_to, -1.0) if contrast else 0 * walk
        if down_to:
            walk, opposite = walk.sum(0, keepdim=True), opposite.sum(0, keepdim=True)
        found.append((walk - opposite).clamp(min=0) if contrast else walk)
    return torch.stack(found)


@pytest.mark.parametrize("contrast", [False, True])
@pytest.mark.parametrize(("layer", "down_to"), [(None, 0), ("1", 2), ("2", 3), ("4", 5)])
def test_walks(layer: str | None, down_to: int, contrast: bool) -> None:
    model = network()
    method = ta.ExcitationBackprop(model, layer, contrast=contrast)
    found = method.attribute(IMAGES, [1, 3])
    assert_same(found, expected(model, [1, 3], down_to, contrast=contrast), 1e-10)


@pytest.mark.parametrize("layer", [None, "1", "4"])
def test_a_walk_ends_somewhere_whatever_the_score(layer: str | None) -> None:
    model = network()
    ones = torch.ones(2, dtype=torch.float64)
    signs = set()
    for target in range(5):
        found = ta.ExcitationBackprop(model, layer).attribute(IMAGES, target)
        assert_same(found.sum((1, 2, 3)), ones, 1e-10)
        assert float(found.min()) >= 0
        signs |= set(model(IMAGES)[:, target].sign().tolist())
    assert signs == {-1.0, 1.0}


def test_a_norm_is_one_operation_with_its_convolution() -> None:
    model = network()
    normed = nn.Sequential(model[0], nn.BatchNorm2d(4), *model[1:]).double().eval()
    normed[1].weight.data = torch.tensor([2.0, -1.0, 0.5, 1.0], dtype=torch.float64)
    folded = network()
    scale = normed[1].weight / (normed[1].running_var + normed[1].eps).sqrt()
    folded[0].weight.data = (model[0].weight * scale[:, None, None, None]).data
    folded[0].bias.data = (model[0].bias * scale).data
    for one, layer in ((normed, "0"), (normed, "1"), (normed, "2")):
        found = ta.ExcitationBackprop(one, layer, contrast=True).attribute(IMAGES, 1)
        plain = ta.ExcitationBackprop(folded, "1", contrast=True).attribute(IMAGES, 1)
        assert_same(found, plain, 1e-9)


def test_at_the_input_of_a_layer() -> None:
    model = network()
    method = ta.ExcitationBackprop(model, "3", contrast=True)
    found = method.attribute(IMAGES, 1, attribute_to_layer_input=True)
    assert_same(found, ta.ExcitationBackprop(model, "2", contrast=True).attribute(IMAGES, 1), 1e-12)


def test_several_layers_and_targets_from_one_forward() -> None:
    model = network()
    method = ta.ExcitationBackprop(model, ["1", "4"], contrast=True)
    found = method.attribute(IMAGES, ta.Classes([0, 3]))
    for layer in ("1", "4"):
        for number, target in enumerate((0, 3)):
            one = ta.ExcitationBackprop(model, layer, contrast=True).attribute(IMAGES, target)
            assert_same(found[layer][:, number], one, 1e-12)


def test_the_contrast_of_two_inputs() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))

        def forward(self, one: Tensor, other: Tensor) -> Any:
            return self.layers(torch.cat([one, other], 1))

    model = seeded(Pair).double()
    one, other = noise(2, 2).abs(), noise(2, 3).abs()
    shares = ta.ExcitationBackprop(model, contrast=True).attribute((one, other), 1)
    joined = ta.ExcitationBackprop(model.layers, contrast=True).attribute(
        torch.cat([one, other], 1), 1
    )
    assert_same(torch.cat(shares, 1), joined, 1e-12)


def test_it_is_found_by_its_name_and_takes_the_layer_of_an_explanation() -> None:
    model = network()
    explanation = ta.explain(model, IMAGES, ["excitation_backprop"], 1, layer="4")
    method = ta.ExcitationBackprop(model, "4")
    assert_same(explanation["excitation_backprop"][:, 0], method.attribute(IMAGES, 1), 1e-12)


def test_repr_names_what_was_chosen() -> None:
    shown = repr(ta.ExcitationBackprop(network(), "4", contrast=True))
    assert shown == "ExcitationBackprop(Sequential, layer='4', contrast=True)"
