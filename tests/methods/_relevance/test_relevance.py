"""What all relevance methods share: the signal times the inputs, its start, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from relevance_networks import PICTURES, resnet_like, vgg_like

import torchattr as ta
from torchattr.errors import InputError, InputTypeError
from torchattr.layers import Composite
from torchattr.methods._relevance.composites import RuleSettings
from torchattr.methods._relevance.relevance import RelevanceAttribution

METHODS = [ta.LRP, ta.AttnLRP, ta.LibraGrad]


class Own(RelevanceAttribution):
    def __init__(self, model: Any, **options: Any) -> None:
        super().__init__(model, {"conv": "z_plus"}, RuleSettings(), **options)


def test_a_subclass_states_a_composite() -> None:
    found = Own(vgg_like()).attribute(PICTURES, 1)
    expected = ta.LRP(vgg_like(), {"conv": "z_plus"}).attribute(PICTURES, 1)
    assert_same(found, expected)
    assert isinstance(Own(vgg_like()).composite, Composite)
    with refused(InputError, "start", "'half'"):
        Own(vgg_like(), start="half")


@pytest.mark.parametrize("method", METHODS)
def test_the_ledger_comes_beside_the_same_map(method: Any) -> None:
    made = method(resnet_like())
    found, ledgers = made.attribute(PICTURES, 1, return_ledger=True)
    assert_same(found, made.attribute(PICTURES, 1))
    assert ledgers == made.ledgers(PICTURES, 1)
    assert len(ledgers) == 2
    assert all(isinstance(ledger, ta.Ledger) for ledger in ledgers)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_is_refused_for_any_input(method: Any) -> None:
    def model(x: Any, y: Any) -> Any:
        return x.relu() + y.float().relu()

    inputs = (torch.ones(1, 3), torch.ones(1, 3).half())
    for call in (method(model).attribute, method(model).ledgers):
        with refused(InputTypeError, "inputs are float16", "bfloat16 or float32"):
            call(inputs, 1)


@pytest.mark.parametrize("method", METHODS)
def test_several_targets_stand_side_by_side(method: Any) -> None:
    made = method(resnet_like())
    found = made.attribute(PICTURES, ta.Classes(2, 0))
    assert_same(found[:, 0], made.attribute(PICTURES, 2), 1e-12)
    assert_same(found[:, 1], made.attribute(PICTURES, 0), 1e-12)


def test_batches_of_one_score_each_need_no_target() -> None:
    model = vgg_like()
    found = ta.LRP(lambda x: model(x)[:, 1]).attribute(PICTURES)
    assert_same(found, ta.LRP(model).attribute(PICTURES, 1), 1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_output_is_an_entry_of_what_the_model_returns(method: Any) -> None:
    model = vgg_like()
    found, ledgers = method(lambda x: {"scores": model(x)}, output="scores").attribute(
        PICTURES, 1, return_ledger=True
    )
    assert_same(found, method(model).attribute(PICTURES, 1), 1e-13)
    assert [one.score for one in ledgers] == [
        one.score for one in method(model).ledgers(PICTURES, 1)
    ]


def test_vectors_are_explained_as_pictures_are() -> None:
    weight = noise(4, 3)
    x = noise(8, 4)
    expected = x * weight[:, 1] * ((x @ weight)[:, 1:2] > 0)
    found = ta.LibraGrad(lambda x: (x @ weight).relu()).attribute(x, 1)
    assert_same(found, expected, 1e-13)
