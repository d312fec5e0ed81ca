"""A third-party fused pair: one class, used only where nothing reads between its calls."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from unittest import mock

import pytest
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import (
    FusedPair,
    NodeState,
    TapPoint,
    Trace,
    nodes_of,
    register_fused_pair,
    rule_table,
)
from torchattr.layers.autograd import runs_rules
from torchattr.layers.fusion import FUSED_PAIRS
from torchattr.layers.rules.norm import scale_of

X = noise(2, 6)


@pytest.fixture(autouse=True)
def own_pairs() -> Iterator[None]:
    with mock.patch.dict(FUSED_PAIRS._entries), mock.patch.dict(FUSED_PAIRS._origins):
        yield


class NormPair(FusedPair):
    """Two batch-norms as one scale."""

    def fits(self, above: NodeState, below: NodeState) -> bool:
        names = (above.call.operation.name, below.call.operation.name)
        return names == ("batch_norm", "batch_norm") and not above.is_done_above

    def backward(
        self, above: NodeState, below: NodeState, table: int, grad: Tensor, *saved: Tensor
    ) -> Tensor:
        return grad * (scale_of(above.call) * scale_of(below.call))


def model() -> nn.Module:
    def build() -> nn.Module:
        rest = (nn.Linear(4, 4), nn.ReLU6(), nn.Linear(4, 3))
        return nn.Sequential(nn.Linear(6, 4), norm(), norm(), *rest)

    return seeded(build).double().eval()


def norm() -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(4)
    nn.init.uniform_(layer.weight, 0.5, 2)
    return layer


def fused(trace: Trace) -> list[FusedPair]:
    states = [node.state for node in nodes_of(trace.output) if runs_rules(node)]
    return [state.partner[0] for state in states if state.partner is not None]


def test_a_registered_pair_is_taken() -> None:
    net = model()
    assert fused(Trace(net, (X,))) == []
    expected = ta.Saliency(net).attribute(X, target=1, abs=False)
    register_fused_pair("norm_norm")(NormPair)
    assert [type(pair) for pair in fused(Trace(net, (X,)))] == [NormPair]
    assert_same(ta.Saliency(net).attribute(X, target=1, abs=False), expected, 1e-14)


def test_what_is_read_between_two_calls_keeps_them_apart() -> None:
    register_fused_pair("norm_norm")(NormPair)
    first, second = norm().double().eval(), norm().double().eval()

    def branched(x: Tensor) -> Tensor:
        hidden = first(x)
        return second(hidden) + hidden

    assert fused(Trace(branched, (X[:, :4],))) == []


GRADIENTS = dict.fromkeys(("batch_norm", "max_pool", "conv"), "gradient")
READ_BETWEEN = {
    "batch-norm and ReLU": (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
    "batch-norm and ReLU in place": (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True)),
    "ReLU and max-pool": (nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "batch-norm, ReLU and max-pool": (nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)),
}


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("rule", ["gradient", "guided"])
@pytest.mark.parametrize("name", READ_BETWEEN)
def test_a_gradient_is_the_same_whether_values_are_kept(
    name: str, rule: str, of_input: bool
) -> None:
    net = seeded(lambda: nn.Sequential(*deepcopy(READ_BETWEEN[name]))).double().eval()
    for norms in net.modules():
        if isinstance(norms, nn.BatchNorm2d):
            nn.init.uniform_(norms.weight, 0.5, 2)
    x, table = noise(2, 2, 8, 8), rule_table({"relu": rule, **GRADIENTS})
    for module in net:
        found = []
        for with_values in (True, False):
            tap = TapPoint(module, of_input, with_values=with_values)
            trace = Trace(net, (x,), tables=[table], taps=[tap])
            (call,) = trace.calls(tap)
            scores = trace.output.square().flatten(1).sum(1)
            found += trace.gradients(scores, call.edges, of_output=True)
        assert_same(found[1], found[0], 1e-14)


def test_calls_whose_inputs_differ_in_shape_are_not_fused() -> None:
    class Any(NormPair):
        def fits(self, above: NodeState, below: NodeState) -> bool:
            return above.call.operation.name == "linear"

    register_fused_pair("any")(Any)
    net = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))).double()
    assert fused(Trace(net, (X,))) == []


def test_a_result_of_another_shape_is_refused() -> None:
    class Wrong(NormPair):
        def backward(
            self, above: NodeState, below: NodeState, table: int, grad: Tensor, *saved: Tensor
        ) -> Tensor:
            return grad[:1]

    register_fused_pair("wrong")(Wrong)
    with pytest.raises(ta.RuleError, match=r"the fused pair Wrong sent back \[\(1, 4\)\]"):
        ta.Saliency(model(), memory="lean").attribute(X, target=1)


def test_calls_say_whether_they_own_their_gradient() -> None:
    owned = []

    class Spy(ta.LayerRule):
        def backward(self, call: ta.Call, grad: Tensor, *saved: Tensor) -> Tensor:
            owned.append(call.owns_grad)
            return grad.clone()

    ta.GradientAttribution(model(), rules={"relu": Spy()}).attribute(X, target=0)
    assert owned == [True]
    trace = Trace(model(), (X,), tables=[{"relu": Spy()}])
    trace.gradients(torch.sin(trace.output[:, 0]), trace.input_edges)
    assert owned == [True, False]
