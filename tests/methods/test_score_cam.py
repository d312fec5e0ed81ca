"""Score-CAM, SS-CAM and IS-CAM: scores of masked images, one forward after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cam_networks import Deep, images, seeded
from helpers import refused
from torch import Tensor, nn

import torchattr as ta
from torchattr.methods._perturbation.random_numbers import key_of, normal

Score = Callable[[Tensor, Tensor, int], Tensor]


def right(net: nn.Module, layer: str, x: Tensor, target: int, score: Score) -> Tensor:
    """Return the map of one image, from the score of each of its masks."""
    values = ta.LayerActivation(net, layer).attribute(x)
    scores = []
    for number, channel in enumerate(values[0]):
        mask = F.interpolate(channel[None, None], x.shape[2:], mode="bilinear")[0]
        low, high = mask.min(), mask.max()
        mask = (mask - low) / (high - low) if channel.max() > channel.min() else mask * 0
        with torch.no_grad():
            scores.append(score(x, mask, number)[0, target])
    weights = torch.stack(scores).softmax(0)
    return torch.einsum("c,chw->hw", weights, values[0])[None, None]


def masked(net: nn.Module) -> Score:
    return lambda x, mask, number: net(x * mask)


def noisy(net: nn.Module) -> Score:
    def score(x: Tensor, mask: Tensor, number: int) -> Tensor:
        total: Any = 0
        for sample in range(3):
            drawn = normal(key_of(2, sample), number, number + 1, mask.numel())
            total = total + net(x * (mask + 0.5 * torch.from_numpy(drawn).view_as(mask)))
        return total / 3

    return score


def along(net: nn.Module) -> Score:
    return lambda x, mask, number: sum(net(x * mask * i / 4) for i in range(1, 5)) / 4


METHODS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "score": (ta.ScoreCAM, masked, {}),
    "smoothed": (ta.SSCAM, noisy, {"n_samples": 3, "stdev": 0.5, "seed": 2}),
    "integrated": (ta.ISCAM, along, {"n_steps": 4}),
}


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("layer", ["stem", "norm"])
def test_weights_are_scores_of_masked_images(kind: str, layer: str) -> None:
    cls, score, options = METHODS[kind]
    net, x = seeded(Deep), images()
    method = cls(net, layer)
    for target in (0, 3):
        expected = torch.cat([right(net, layer, one[None], target, score(net)) for one in x])
        torch.testing.assert_close(method.attribute(x, target=target, **options), expected)
    several = method.attribute(x, target=ta.Classes(2, 3), perturbations_per_eval=2, **options)
    torch.testing.assert_close(several[:, 1], expected)


@pytest.mark.parametrize("kind", METHODS)
def test_layers_forms_and_explain(kind: str) -> None:
    cls, _, options = METHODS[kind]
    net, x = seeded(Deep), images()
    found = cls(net, ["stem", "norm"]).attribute(x, target=1, relu_attributions=True, **options)
    assert list(found) == ["stem", "norm"]
    plain = cls(net, "norm").attribute(x, target=1, **options)
    torch.testing.assert_close(found["norm"], plain.relu())
    explained = ta.explain(net, x, {cls(net, "norm"): options}, targets=1)
    (only,) = explained.attributions.values()
    torch.testing.assert_close(only[:, 0], plain)


def test_a_channel_without_contrast_masks_everything() -> None:
    net = seeded(Deep)
    with torch.no_grad():
        net.get_submodule("body.0").weight[2].zero_()
    x = images(1)
    found = ta.ScoreCAM(net, "body").attribute(x, target=1)
    torch.testing.assert_close(found, right(net, "body", x, 1, masked(net)))


def test_further_inputs_are_repeated_and_not_masked() -> None:
    class Two(Deep):
        def forward(self, x: Tensor, table: Any = None, scale: Any = None) -> Tensor:
            return super().forward(x) * table.sum(1, keepdim=True) * scale

    net, x = seeded(Two), images()
    table, scale = torch.rand(2, 4).double(), torch.rand(2, 1).double()
    found = ta.ScoreCAM(net, "norm").attribute((x, table), 1, scale)
    alone = ta.ScoreCAM(net, "norm").attribute((x[:1], table[:1]), 1, scale[:1])
    torch.testing.assert_close(found[:1], alone)


def test_what_cannot_be_masked_or_scored_is_refused() -> None:
    linear = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Flatten(), nn.Linear(24, 2))
    with refused(ta.ShapeError, "masks no input", "spatial"):
        ta.ScoreCAM(linear, "0", layout=lambda v: v.unsqueeze(-1)).attribute(torch.rand(2, 3, 6), 1)
    net, x = seeded(Deep), images()
    with refused(ta.TorchattrError, "one row", "ScoreCAM"):
        ta.ScoreCAM(lambda images: net(images).sum(0), net.get_submodule("norm")).attribute(x)
    with refused(ta.InputError, "n_samples"):
        ta.SSCAM(net, "norm").attribute(x, 1, n_samples=0)
    with refused(ta.InputError, "stdev", "-1"):
        ta.SSCAM(net, "norm").attribute(x, 1, stdev=-1)
    with refused(ta.InputError, "n_steps"):
        ta.ISCAM(net, "norm").attribute(x, 1, n_steps=0)
