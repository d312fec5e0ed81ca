"""Finer-CAM: the map of a difference of scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cam_networks import Deep, Pooled, images, made, seeded
from helpers import refused
from torch import Tensor

import torchattr as ta


def nearest(scores: Tensor, own: int, count: int) -> list[int]:
    order = sorted(range(len(scores)), key=lambda d: abs(float(scores[d] - scores[own])))
    return [d for d in order if d != own][:count]


@pytest.mark.parametrize("base", ["grad_cam", "layer_cam", "grad_cam_plus_plus"])
@pytest.mark.parametrize("weighting", ["mean", "probability"])
def test_the_map_is_that_of_the_difference(base: str, weighting: Any) -> None:
    net, x = seeded(Deep), images()
    finer = ta.FinerCAM(net, "norm", base=base, comparison=2, gamma=0.7, weighting=weighting)
    found = finer.attribute(x, target=1)
    for number in range(2):
        others = nearest(net(x)[number].detach(), 1, 2)

        def difference(scores: Tensor, others: list[int] = others) -> Tensor:
            compared = scores[:, others]
            shares = scores.softmax(1)[:, others]
            if weighting == "mean":
                shares = torch.ones_like(shares)
            return scores[:, 1] - 0.7 * (shares * compared).sum(1) / shares.sum(1)

        one = x[number : number + 1]
        expected = made(base, net, "norm").attribute(one, target=difference)
        torch.testing.assert_close(found[number : number + 1], expected)


def test_forms_of_targets() -> None:
    net, x = seeded(Deep), images()
    finer = ta.FinerCAM(net, "norm", comparison=[0, 2])
    best = net(x).argmax(1)
    free = ta.FinerCAM(net, "norm")
    torch.testing.assert_close(free.attribute(x), free.attribute(x, target=best))
    top = free.attribute(x, target=ta.TopK(2))
    torch.testing.assert_close(top[:, 0], free.attribute(x, target=best))
    several = finer.attribute(x, target=ta.Classes(1, 3))
    torch.testing.assert_close(several[:, 1], finer.attribute(x, target=[3, 3]))
    plain = ta.FinerCAM(net, "norm", gamma=0).attribute(x, target=1)
    torch.testing.assert_close(plain, ta.GradCAM(net, "norm").attribute(x, target=1))


def test_several_layers_and_explain() -> None:
    net, x = seeded(Deep), images()
    found = ta.FinerCAM(net, ["stem", "norm"]).attribute(x, target=1)
    explained = ta.explain(net, x, ["finer_cam", "grad_cam"], targets=1, layer="norm")
    torch.testing.assert_close(explained["finer_cam"][:, 0], found["norm"])


def test_bad_comparisons_say_what_is_possible() -> None:
    net, x = seeded(Pooled), images()
    with refused(ta.TargetError, "comparison", "target itself", "subtracted"):
        ta.FinerCAM(net, "body", comparison=[1, 2]).attribute(x, target=[0, 2])
    with refused(ta.TargetError, "comparison", "[9]", "0 to 4"):
        ta.FinerCAM(net, "body", comparison=[9]).attribute(x, target=0)
    with refused(ta.InputError, "comparison is 5", "4 others"):
        ta.FinerCAM(net, "body", comparison=5).attribute(x, target=0)
    with refused(ta.InputError, "comparison", "empty"):
        ta.FinerCAM(net, "body", comparison=[])
    with refused(ta.InputError, "gamma", "-1"):
        ta.FinerCAM(net, "body", gamma=-1)
    with refused(ta.InputError, "weighting", "probability"):
        ta.FinerCAM(net, "body", weighting="softmax")  # type: ignore[arg-type]
    with refused(ta.InputError, "base", "saliency", "grad_cam"):
        ta.FinerCAM(net, "body", base="saliency")
    with refused(ta.TargetError, "FinerCAM compares classes"):
        ta.FinerCAM(net, "body").attribute(x, target=lambda scores: scores[:, 0])
    one = torch.nn.Sequential(net, torch.nn.Linear(5, 1).double())
    with refused(ta.TargetError, "(N, classes)", "(2, 1)"):
        ta.FinerCAM(one, "0.body").attribute(x)
