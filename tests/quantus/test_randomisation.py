from __future__ import annotations

from typing import Any

import pytest
import torch
from asked import ASKED, X, Y, model
from helpers import assert_same, refused
from torch import Tensor

import torchattr as ta
from torchattr import evaluate, quantus
from torchattr.errors import InputError
from torchattr.methods import Attribution

NET = model()
x, y = torch.from_numpy(X), torch.from_numpy(Y)


class Product(Attribution):
    """What `explain` does by the name of InputXGradient: channels summed."""

    def attribute(self, inputs: Tensor, target: Any, additional_forward_args: Any = None) -> Tensor:
        found = ta.InputXGradient(self.model).attribute(inputs, target)
        return found.sum(-3, keepdim=True)


@pytest.mark.parametrize("order", ["top_down", "bottom_up", "independent"])
def test_mprt_is_that_of_evaluate(order: str) -> None:
    found = quantus.MPRT(layer_order=order)(NET, X, Y, **ASKED)
    expected = evaluate.mprt(
        NET,
        x,
        [Product(NET)],
        y,
        order="bottom_up" if order == "bottom_up" else "top_down",
        cascading=order != "independent",
        absolute=True,
        seed=42,
    )
    (similarities,) = (expected[name] for name in expected)
    assert tuple(found) == expected.layers
    assert_same(torch.tensor(list(found.values())).double().T, similarities, 1e-6)
    average = quantus.MPRT(layer_order=order, return_average_correlation=True)(NET, X, Y, **ASKED)
    assert_same(torch.tensor(average, dtype=torch.float64), similarities.mean(1), 1e-9)
    last = quantus.MPRT(layer_order=order, return_last_correlation=True)(NET, X, Y, **ASKED)
    assert_same(torch.tensor(last, dtype=torch.float64), similarities[:, -1], 1e-9)


def test_layers_between_may_be_skipped() -> None:
    whole = quantus.MPRT()(NET, X, Y, **ASKED)
    skipped = quantus.MPRT(skip_layers=True)(NET, X, Y, **ASKED)
    (name,) = skipped
    assert skipped[name] == pytest.approx(whole[name], rel=1e-9)


def test_smooth_mprt_is_that_of_evaluate() -> None:
    metric = quantus.SmoothMPRT(
        nr_samples=3, return_last_correlation=True, abs=False, normalise=False
    )
    expected = evaluate.smooth_mprt(NET, x, [Product(NET)], y, n_samples=3, noise=0.1, seed=42)
    (similarities,) = (expected[name] for name in expected)
    found = torch.tensor(metric(NET, X, Y, **ASKED), dtype=torch.float64)
    assert_same(found, similarities[:, -1], 1e-9)


def test_efficient_mprt_and_random_logit_are_those_of_evaluate() -> None:
    (expected,) = evaluate.efficient_mprt(NET, x, [Product(NET)], y, seed=42).values()
    found = quantus.EfficientMPRT()(NET, X, Y, **ASKED)
    assert_same(torch.tensor(found, dtype=torch.float64), expected, 1e-9)
    (expected,) = evaluate.random_logit(NET, x, [Product(NET)], y, seed=42).values()
    found = quantus.RandomLogit()(NET, X, Y, **ASKED)
    assert_same(torch.tensor(found, dtype=torch.float64), expected, 1e-6)


def test_unknown_orders_are_refused() -> None:
    with refused(InputError, "layer_order", "'bottom_up'", "'sideways'"):
        quantus.MPRT(layer_order="sideways")(NET, X, Y, **ASKED)
