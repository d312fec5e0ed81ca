"""What the path methods at layers have in common."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import assert_same, refused
from layered import START, TARGETS, X, hooks_of, network

import torchattr as ta
from torchattr.errors import LayerError
from torchattr.methods import LayerPathAttribution
from torchattr.methods.layer_paths import LayerRun

METHODS = [ta.InternalInfluence, ta.LayerConductance, ta.LayerGradientShap]


class AtTheEnd(LayerPathAttribution):
    """A layer's gradient at the input itself."""

    def attribute(self, inputs: Any, target: Any = None, copies: int = 2) -> Any:
        given = ta_inputs(inputs)
        run = LayerRun(self, given, target, (), False)
        return run.at([x.repeat(copies, 1, 1) for x in given.tensors], copies)[1]


def ta_inputs(inputs: Any) -> Any:
    from torchattr.core.inputs import as_inputs

    return as_inputs(inputs)


def test_a_subclass_needs_only_its_points() -> None:
    model = network()
    found = AtTheEnd(model, "2").attribute(X, TARGETS)
    expected = ta.LayerGradientXActivation(model, "2", False).attribute(X, TARGETS)
    assert_same(found[:3], expected, 1e-12)
    assert_same(found[3:], expected, 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_messages_name_the_method_and_the_layer(method: Any) -> None:
    with refused(ta.NoRuleMatched, method.__name__, "gelu"):
        method(network(), "2", rules={"gelu": "guided"}).attribute(X, START, target=1)
    with refused(LayerError, "nowhere"):
        method(network(), "nowhere")


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was(method: Any) -> None:
    model = network()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    method(model, "2").attribute(X, START, target=1)
    assert hooks_of(model) == []
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(value.equal(state[name]) for name, value in model.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*last layer with spatial")
@pytest.mark.parametrize("method", METHODS)
def test_a_layer_that_is_left_out_is_the_last_spatial_one(method: Any) -> None:
    model = network()
    with pytest.warns(ta.LayerChoiceWarning):
        found = method(model).attribute(X, START, target=1)
    assert_same(found, method(model, "3").attribute(X, START, target=1), 1e-12)
