"""Rectifiers written as arithmetic are rectifiers; other masks are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import torchattr as ta


def set_item(h: Tensor) -> Tensor:
    h = h.clone()
    h[h < 0] = 0
    return h


def fill_in_place(h: Tensor) -> Tensor:
    h = h * 1.0
    h.masked_fill_(h <= 0, 0)
    return h


RECTIFIERS = {
    "where": lambda h: torch.where(h > 0, h, 0),
    "where at least zero": lambda h: torch.where(h >= 0, h, torch.zeros_like(h)),
    "where reversed": lambda h: torch.where(h < 0, 0, h),
    "Tensor.where": lambda h: h.where(h > 0, torch.zeros((), dtype=h.dtype)),
    "aten.where": lambda h: torch.ops.aten.where.ScalarOther(h > 0, h, 0),
    "product": lambda h: h * (h > 0),
    "product reversed": lambda h: (h > 0) * h,
    "product with floats": lambda h: torch.mul(h, (h > 0).to(h.dtype)),
    "masked_fill": lambda h: h.masked_fill(h < 0, 0),
    "masked_fill_": fill_in_place,
    "set item": set_item,
}


@pytest.fixture
def layers() -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(a, b).double() for a, b in ((4, 16), (16, 16), (16, 3))]


def network(layers: list[nn.Linear], rectify: Callable[[Tensor], Tensor]) -> Callable:
    first, second, third = layers
    return lambda x: third(rectify(second(torch.relu(first(x)))))


@pytest.mark.parametrize("method", [ta.Saliency, ta.GuidedBackprop, ta.Deconvolution])
@pytest.mark.parametrize("spelling", RECTIFIERS)
def test_equals_relu(layers: list[nn.Linear], spelling: str, method: type) -> None:
    x = torch.randn(5, 4, dtype=torch.float64)
    expected = method(network(layers, torch.relu)).attribute(x, target=1)
    found = method(network(layers, RECTIFIERS[spelling])).attribute(x, target=1)
    assert torch.equal(found, expected)


OTHERS = {
    "the mask of another tensor": lambda h: h * (h.flip(1) > 0),
    "a mask at another threshold": lambda h: torch.where(h > 0.1, h, 0),
    "another filling": lambda h: h.masked_fill(h < 0, -0.5),
    "a scale": lambda h: h * torch.full_like(h, 2.0),
    "positive elements removed": lambda h: h.masked_fill(h > 0, 0),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_masks_keep_their_gradient(layers: list[nn.Linear], other: str) -> None:
    x = torch.randn(5, 4, dtype=torch.float64)
    model = network(layers, OTHERS[other])
    explained = ta.explain(model, x, ["saliency", "guided_backprop"], targets=1)
    assert explained.notes["guided_backprop"] == "1 relu call, 1 rewritten"
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    assert torch.equal(explained["saliency"][:, 0], expected.abs())


def test_remembers_one_bit_an_element(layers: list[nn.Linear]) -> None:
    saved: list[Tensor] = []
    keep = torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t)
    with keep:
        ta.GuidedBackprop(lambda x: layers[1](torch.where(x > 0, x, 0))).attribute(
            torch.randn(8, 16, dtype=torch.float64), target=0
        )
    assert [(t.dtype, t.numel()) for t in saved] == [(torch.uint8, 16)]
