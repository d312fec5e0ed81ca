"""A lower precision is only taken when asked for, and its error is measured."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from foldable import Net, network
from helpers import noise

import torchattr as ta
from torchattr.preparation.precision import deviation

X = noise(4, 3, 14, 14, dtype=torch.float32)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_error_is_measured(precision: Any, channels_last: bool) -> None:
    model = network(Net).float()
    fast = ta.prepare(model, X, precision=precision, channels_last=channels_last)
    report = fast.report
    step = torch.finfo(getattr(torch, precision)).eps
    assert report.precision == precision
    assert report.difference < 1e-5  # That of folding alone.
    for name, method in (("saliency", ta.Saliency), ("guided_backprop", ta.GuidedBackprop)):
        target = model(X).argmax(1)
        options = {"abs": False} if method is ta.Saliency else {}
        ours = method(fast).attribute(X, target, **options)
        own = method(model).attribute(X, target, **options)
        assert ours.dtype == torch.float32
        assert report.maps[name] == deviation(ours, own)
        assert step / 100 < report.maps[name].relative < 1
        assert 0.5 < report.maps[name].correlation < 1
    assert report.gates is not None
    assert report.gates.forward.gates == 4 * 2 * 6 * 14 * 14
    assert fast(X).dtype == torch.float32
    assert fast(X).ne(fast(X.double().float() + 1e-3)).any()
    assert "correlation" in repr(report)


def test_it_is_never_chosen_by_itself() -> None:
    fast = ta.prepare(network(Net).float(), X)
    assert fast.report.precision == "float32"
    assert fast.report.maps["saliency"].relative < 1e-4


def test_deviation() -> None:
    own = torch.tensor([3.0, 4.0, 0.0])
    found = deviation(torch.tensor([3.0, 4.0, 1.0]), own)
    assert found.relative == pytest.approx(1 / 5)
    assert found.largest == pytest.approx(1 / 4)
    assert found.correlation == pytest.approx(
        torch.corrcoef(torch.tensor([[3.0, 4.0, 1.0], [3.0, 4.0, 0.0]]))[0, 1].item()
    )
    assert deviation(-own, own).correlation == pytest.approx(-1)
    zero = torch.zeros(3)
    assert deviation(zero, zero).correlation == 1
    assert deviation(own, zero).relative == math.inf
    assert deviation(own, zero).correlation == 0
