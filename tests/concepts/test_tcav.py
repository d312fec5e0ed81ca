"""TCAV against gradients of autograd."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import nn

from torchattr.concepts import TCAV, Concept
from torchattr.errors import InputError, ShapeError

X = noise(6, 1, 4, 4)


def model() -> nn.Module:
    layers = (nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 4), nn.Tanh())
    return seeded(lambda: nn.Sequential(*layers, nn.Linear(4, 2))).double()


def sets() -> list[list[Concept]]:
    bright = Concept(0, "bright", [noise(8, 1, 4, 4, seed=2) + 1, noise(4, 1, 4, 4, seed=3) + 1])
    dark = Concept(1, "dark", [noise(10, 1, 4, 4, seed=4) - 1])
    other = Concept(5, "random", [noise(10, 1, 4, 4, seed=5)])
    return [[bright, other], [dark, bright, other]]


@pytest.mark.parametrize("of_input", [False, True])
def test_scores_are_those_of_autograd(of_input: bool) -> None:
    net = model()
    tcav = TCAV(net, ["1", "4"], attribute_to_layer_input=of_input)
    cavs = tcav.compute_cavs(sets())
    found = tcav.interpret(X, sets(), cavs, target=1)
    assert list(found) == ["0-5", "1-0-5"]
    for place in (1, 4):
        values = net[: place + (not of_input)](X).detach().requires_grad_()
        rest = net[place + (not of_input) :]
        (gradient,) = torch.autograd.grad(rest(values)[:, 1].sum(), values)
        for concepts in sets():
            key = "-".join(str(one.id) for one in concepts)
            weights = cavs[key][str(place)].weights_of(concepts)
            slopes = gradient.flatten(1) @ weights.T
            scores = found[key][str(place)]
            assert_same(scores["magnitude"], slopes.mean(0), 1e-10)
            assert torch.equal(scores["sign_count"], (slopes > 0).double().mean(0))


def test_a_concept_that_the_score_grows_with_is_found() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([-torch.ones(16), torch.ones(16)]))
    tcav = TCAV(net, "0")
    scores = tcav.interpret(X, sets()[:1], tcav.compute_cavs(sets()[:1]), target=1)
    assert scores["0-5"]["0"]["sign_count"].tolist() == [1.0, 0.0]


def test_no_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tcav = TCAV(model(), "1")
    tcav.interpret(X, sets(), tcav.compute_cavs(sets()), target=0)
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_refused() -> None:
    with refused(InputError, "layers"):
        TCAV(model(), [])
    tcav = TCAV(nn.Sequential(nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()).double(), "0")
    cavs = tcav.compute_cavs(sets())
    with refused(ShapeError, "16 features", "25"):
        tcav.interpret(noise(2, 1, 5, 5), sets(), cavs, target=0)
