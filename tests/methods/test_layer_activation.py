"""Layer activations, against a plain forward up to the layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same
from networks import Net, conv, head, pictures, pooled
from rectified import X, network
from torch import Tensor, nn

import torchattr as ta


@pytest.mark.parametrize("layer", range(7))
def test_is_what_a_forward_computes_there(layer: int) -> None:
    model = network()
    activation = ta.LayerActivation(model, str(layer))
    with torch.no_grad():
        before, after = model[:layer](X), model[: layer + 1](X)
    assert_same(activation.attribute(X), after)
    assert_same(activation.attribute(X, attribute_to_layer_input=True), before)


def test_several_layers_are_a_dict_from_one_forward() -> None:
    model = network()
    forwards: list[Tensor] = []
    model.register_forward_pre_hook(lambda _, given: forwards.append(given[0]))
    found = ta.LayerActivation(model, ["0", "3"]).attribute(X)
    assert {name: value.shape for name, value in found.items()} == {
        "0": (3, 6, 5, 4),
        "3": (3, 24),
    }
    assert len(forwards) == 1


def test_layers_that_return_tuples_and_run_twice() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x + 1, x - 1

    def run(net: Any, x: Tensor) -> Tensor:
        up, down = net.pair(x)
        return pooled(net, net.first(net.pair(up)[1] + down))

    x = pictures(2, 3, 4, 4)
    net = Net(run, pair=Pair(), first=conv(), head=head())
    for calls, expected in (("first", (x + 1, x - 1)), ("last", (x + 2, x)), ("sum", None)):
        found = ta.LayerActivation(net, "pair", calls=calls).attribute(x)
        expected = (2 * x + 3, 2 * x - 1) if expected is None else expected
        for value, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(value, wanted)
    assert len(ta.LayerActivation(net, "pair", calls="each").attribute(x)) == 2
    with pytest.warns(ta.LayerReuseWarning, match="'pair' was called 2 times"):
        ta.LayerActivation(net, "pair").attribute(x)


def test_a_layer_that_did_not_run() -> None:
    net = Net(lambda net, x: net.head(x), head=nn.Linear(3, 2), spare=nn.Linear(3, 2))
    with pytest.raises(ta.LayerError, match="did not run"):
        ta.LayerActivation(net, "spare").attribute(torch.ones(1, 3).double())
