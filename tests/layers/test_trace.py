"""One forward serves many backwards: methods, targets and layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import TapPoint, Trace, rule_table


class Counting(nn.Module):
    """Counts its forwards where no attribution can interfere."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(6 * 9, 4)
        self.runs: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.runs.append(len(x))
        return self.head(self.features(x).flatten(1))


X = noise(2, 3, 8, 8)
ALL = ["saliency", "deconvolution", "guided_backprop", "grad_cam", "guided_grad_cam"]


def test_one_forward_serves_methods_and_targets() -> None:
    model = seeded(Counting).double()
    together = ta.explain(model, X, ALL, targets=ta.Classes(3, 0, 2), layer="features")
    assert model.runs == [2]
    alone: dict[str, Any] = {
        "saliency": ta.Saliency(model),
        "deconvolution": ta.Deconvolution(model),
        "guided_backprop": ta.GuidedBackprop(model),
        "grad_cam": ta.GradCAM(model, "features"),
        "guided_grad_cam": ta.GuidedGradCAM(model, "features"),
    }
    for name, method in alone.items():
        for column, target in enumerate((3, 0, 2)):
            assert_same(together[name][:, column], method.attribute(X, target=target))


def test_backwards_under_any_order_of_rules_are_independent() -> None:
    names = ["gradient", "guided", "deconvolution"]
    tables = [rule_table({"relu": name}) for name in names]
    model = seeded(Counting).double()
    trace = Trace(model, (X,), tables=tables)
    scores = trace.output[:, 1]
    alone = {}
    for name, table in zip(names, tables, strict=True):
        single = Trace(model, (X,), tables=[table])
        (alone[name],) = single.gradients(single.output[:, 1], single.input_edges)
    for number in (2, 0, 1, 1, 0, 2):
        (found,) = trace.gradients(scores, trace.input_edges, table=number)
        assert_same(found, alone[names[number]])


def test_the_output_is_that_of_the_model() -> None:
    model = seeded(Counting).double()
    assert_same(Trace(model, (X,)).output.detach(), model(X).detach())


def test_parametrised_rules_do_not_share_what_they_save() -> None:
    class Scaled(ta.LayerRule):
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def save(self, call: ta.Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
            return (torch.tensor(self.factor, dtype=x.dtype),)

        def backward(self, call: ta.Call, grad: Tensor, *saved: Tensor) -> Tensor:
            return grad * saved[0]

    model = nn.Sequential(nn.ReLU(), nn.Flatten())
    tables = [rule_table({"relu": Scaled(factor)}) for factor in (2.0, 5.0)]
    trace = Trace(model, (X,), tables=tables)
    for number, factor in ((1, 5.0), (0, 2.0)):
        (found,) = trace.gradients(trace.output.sum(1), trace.input_edges, table=number)
        assert_same(found, torch.full_like(X, factor))


@pytest.mark.parametrize("view", [lambda x: x[:, :1], lambda x: x.transpose(1, 2), torch.clone])
def test_in_place_on_a_view_of_the_input(view: Any) -> None:
    def forward(x: Tensor) -> Tensor:
        view(x).relu_()
        return (x * x).flatten(1)

    leaf = X.clone().requires_grad_()
    copied = leaf.clone()
    part = view(copied)
    part.relu_()
    scores = (copied * copied).flatten(1)[:, :70].sum(1)
    (expected,) = torch.autograd.grad(scores.sum(), leaf)
    result = ta.Saliency(forward).attribute(X, lambda out: out[:, :70].sum(1), abs=False)
    assert_same(result, expected, 1e-12)


class Chain(nn.Module):
    """Gradients with a single reader, shared ones, and a hook that keeps one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU6())
        self.third = nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.head = nn.Linear(6, 4)
        self.kept: Tensor | None = None
        self.hooked = False

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        if self.hooked:
            first.register_hook(self.keep)
        hidden = self.third(first + self.second(first))
        return self.head(hidden.mean((2, 3)))

    def keep(self, grad: Tensor) -> None:
        self.kept = grad


PARTS = ["first.0", "first.1", "first.2", "second.0", "second.1", "second", "third.0", "third.2"]


@pytest.mark.parametrize("table", [{}, {"relu": "guided"}, {"relu": "deconvolution"}])
@pytest.mark.parametrize("of_output", [False, True])
def test_a_gradient_that_is_read_is_not_written_over(table: dict, of_output: bool) -> None:
    model = seeded(Chain).double()
    taps = [TapPoint(model.get_submodule(name)) for name in PARTS]
    x = noise(2, 3, 8, 8)
    every = Trace(model, (x,), tables=[rule_table(table)], taps=taps)
    edges = [*every.input_edges, *(every.calls(tap)[0].edges[0] for tap in taps)]
    found = every.gradients(every.output[:, 1], edges, of_output=of_output)
    for edge, gradient in zip(edges, found, strict=True):
        alone = every.gradients(every.output[:, 1], [edge])[0]
        assert_same(gradient, alone)


def test_a_gradient_that_a_hook_of_the_model_keeps_is_not_written_over() -> None:
    model = seeded(Chain).double()
    model.hooked = True
    x = noise(2, 3, 8, 8)
    ta.Saliency(model).attribute(x, target=1)
    kept, model.kept = model.kept, None
    model(x).select(1, 1).sum().backward()
    assert_same(kept, model.kept)
