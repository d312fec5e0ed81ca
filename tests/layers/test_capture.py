"""A layer's inputs and outputs are recorded during the user's own forward, call by call."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import TapPoint, Trace


class Twice(nn.Module):
    """Calls one layer twice, and one with keyword arguments that returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.split = Split()
        self.unused = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.conv(x).relu_()).relu_()
        low, high = self.split(x=x, cut=0.5)
        return self.head((low + 2 * high).mean((2, 3)))


class Split(nn.Module):
    def forward(self, x: Tensor, cut: float) -> tuple[Tensor, Tensor]:
        return x.clamp(max=cut), x.clamp(min=cut)


X = noise(2, 3, 6, 6)


def model() -> Twice:
    return seeded(Twice).double()  # type: ignore[return-value]


def test_values_are_those_before_the_model_wrote_over_them() -> None:
    net = model()
    calls = Trace(net, (X,), taps=[TapPoint(net.conv)]).calls(TapPoint(net.conv))
    first = net.conv(X)
    assert len(calls) == 2
    assert_same(calls[0].values[0].detach(), first.detach())
    assert_same(calls[1].values[0].detach(), net.conv(first.relu()).detach())


def test_gradients_of_each_call_are_those_of_autograd() -> None:
    net = model()
    trace = Trace(net, (X,), taps=[TapPoint(net.conv)])
    edges = [call.edges[0] for call in trace.calls(TapPoint(net.conv))]
    found = trace.gradients(trace.output[:, 1], edges)
    first = net.conv(X).detach().requires_grad_()
    second = net.conv(first.relu())
    x = second.relu()
    output = net.head((x.clamp(max=0.5) + 2 * x.clamp(min=0.5)).mean((2, 3)))
    for one, expected in zip(
        found, torch.autograd.grad(output[:, 1].sum(), [first, second]), strict=True
    ):
        assert_same(one, expected, 1e-12)


def test_policy_for_a_layer_that_is_called_twice() -> None:
    net = model()
    each = ta.GradCAM(net, "conv", calls="each").attribute(X, target=1)
    assert len(each) == 2
    assert not torch.allclose(each[0], each[1])
    assert_same(ta.GradCAM(net, "conv", calls="first").attribute(X, target=1), each[0])
    assert_same(ta.GradCAM(net, "conv", calls="last").attribute(X, target=1), each[1])
    assert_same(ta.GradCAM(net, "conv", calls="sum").attribute(X, target=1), each[0] + each[1])
    with pytest.warns(ta.LayerReuseWarning, match="'conv' was called 2 times; the last"):
        assert_same(ta.GradCAM(net, "conv").attribute(X, target=1), each[1])


def test_tuples_and_keyword_arguments() -> None:
    net = model()
    tap, taken = TapPoint(net.split), TapPoint(net.split, of_input=True)
    trace = Trace(net, (X,), taps=[tap, taken])
    (given,), (took,) = trace.calls(tap), trace.calls(taken)
    assert given.form == (0, 1)
    assert len(given.values) == 2
    assert len(took.values) == 1
    low, high = ta.LayerActivation(net, "split").attribute(X)
    assert_same(low, took.values[0].detach().clamp(max=0.5))
    assert_same(high, took.values[0].detach().clamp(min=0.5))


def test_a_layer_that_did_not_run_is_named() -> None:
    with refused(ta.LayerError, "did not run"):
        ta.GradCAM(model(), "unused").attribute(X, target=1)


@pytest.mark.parametrize("as_input", [False, True])
def test_a_layer_at_which_the_graph_begins(as_input: bool) -> None:
    """A layer attribution needs no graph below its layer; values of an integer input serve."""
    table = seeded(nn.Embedding, 10, 6).double()
    head = seeded(nn.Linear, 6, 3).double()
    net = nn.Sequential(table, nn.ReLU(), head)
    layer = "1" if as_input else "0"

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).mean(1)

    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    method = ta.GradCAM(Pooled(), f"net.{layer}")
    result: Any = method.attribute(tokens, target=2, attribute_to_layer_input=as_input)
    assert result.shape[0] == 2
    assert bool(result.any())


class Hoarder(nn.Module):
    """Keeps its outputs, on request."""

    def __init__(self, keeps: bool, pair: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.keeps, self.pair = keeps, pair
        self.kept: Any = None
        self.runs = 0

    def forward(self, x: Tensor) -> Any:
        self.runs += 1
        given = self.conv(x)
        self.kept = given if self.keeps else None
        return (given, given.exp()) if self.pair else given


@pytest.mark.parametrize(("keeps", "pair"), [(False, False), (True, False), (False, True)])
def test_the_graph_begins_above_a_layer_only_where_it_must(keeps: bool, pair: bool) -> None:
    layer = Hoarder(keeps, pair).double()

    def net(x: Tensor) -> Tensor:
        given = layer(x)
        first = given[0] if pair else given
        other = given[1] if pair else layer.kept if keeps else first
        return (first * 2 + other).mean((2, 3))

    tap = TapPoint(layer)
    trace = Trace(net, (X,), taps=[tap], from_inputs=False)
    assert layer.runs == (2 if keeps or pair else 1)
    found = trace.gradients(trace.output[:, 1], trace.calls(tap)[0].edges[:1])[0]
    values = layer.conv(X).detach().requires_grad_()
    other = values.exp() if pair else values
    (wanted,) = torch.autograd.grad((values * 2 + other).mean((2, 3))[:, 1].sum(), values)
    assert found is not None
    assert_same(found, wanted)


def test_other_threads_pass_by() -> None:
    from threading import Thread

    net = model()
    tap = TapPoint(net.conv)
    other = Thread(target=lambda: net(X))
    seen = []

    def run(x: Tensor) -> Tensor:
        other.start()
        other.join()
        result: Tensor = net(x)
        seen.append(result)
        return result

    assert len(Trace(run, (X,), taps=[tap]).calls(tap)) == 2
    assert len(seen) == 1
