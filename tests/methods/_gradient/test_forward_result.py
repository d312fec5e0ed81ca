"""Models that run their own forwards for the methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from helpers import assert_same
from rectified import X, network
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import Trace
from torchattr.methods import ForwardResult, Traceable


class Doubling(nn.Module, Traceable):
    """Runs a model other than its own forward, and records the options."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.asked: list[dict[str, Any]] = []

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("a traceable model is asked for a trace")

    def trace(
        self, inputs: Sequence[Tensor], arguments: Sequence[Any], *, of_output: bool, **options: Any
    ) -> ForwardResult:
        self.asked.append({"of_output": of_output, **options})
        return Trace(lambda x: 2 * self.model(x), inputs, arguments, **options)


def test_methods_use_the_forward_that_a_model_offers() -> None:
    model = network()
    doubling = Doubling(model)
    found = ta.Saliency(doubling).attribute(X, 1)
    assert_same(found, 2 * ta.Saliency(model).attribute(X, 1), 1e-12)
    (asked,) = doubling.asked
    assert asked["of_output"]
    assert asked["from_inputs"]
    assert asked["taps"] == []


def test_a_model_is_told_what_is_read_inside_it() -> None:
    model = network()
    doubling = Doubling(model)
    target = ta.Neuron("model.4", 3)
    found = ta.GradCAM(doubling, "model.0").attribute(X, target)
    assert_same(found, ta.GradCAM(model, "0").attribute(X, ta.Neuron("4", 3)), 1e-12)
    (asked,) = doubling.asked
    assert not asked["of_output"]
    assert not asked["from_inputs"]
    assert [tap.module for tap in asked["taps"]] == [model[0], model[4]]
