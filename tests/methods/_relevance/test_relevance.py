"""What all relevance methods share: the signal times the inputs, its start, what is refused."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from relevance_networks import PICTURES, resnet_like, vgg_like

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, LayerError, TorchattrWarning
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
    assert_same(found, made.attribute(PICTURES, 1), 1e-12)
    assert ledgers == made.ledgers(PICTURES, 1)
    assert len(ledgers) == 2
    assert all(isinstance(ledger, ta.Ledger) for ledger in ledgers)


@pytest.mark.parametrize("target", [1, None, ta.Classes(2, 0), ta.TopK(2)])
@pytest.mark.parametrize("method", METHODS)
def test_an_account_is_the_attribution_and_its_ledgers(method: Any, target: Any) -> None:
    made, one = method(resnet_like()), PICTURES[:1]
    account = made.account(one, target)
    assert_same(account.attribution, made.attribute(one, target))
    (ledgers,) = made.ledgers(one, target)
    assert account.ledgers == (ledgers if account.several else [ledgers])
    found, (beside,) = made.attribute(one, target, return_ledger=True)
    assert_same(found, account.attribution)
    assert beside == ledgers
    assert account.coverage.describe(made.table) == ta.explain(
        made.model, one, [made], targets=target
    ).coverage.describe(made.table)


@pytest.mark.parametrize(
    ("count", "return_ledger", "expected"),
    [(1, False, [1]), (1, True, [1]), (2, False, [2]), (2, True, [2, 1, 1])],
)
def test_each_example_runs_once(count: int, return_ledger: bool, expected: list[int]) -> None:
    """Beside the forward of a batch, which has no graph."""
    model, runs = vgg_like(), list[tuple[int, bool]]()

    def counted(x: Any) -> Any:
        found = model(x)
        runs.append((len(x), found.requires_grad))
        return found

    ta.LRP(counted).attribute(PICTURES[:count], 1, return_ledger=return_ledger)
    assert [size for size, _ in runs] == expected
    assert sum(size for size, with_graph in runs if with_graph) == count


@pytest.mark.parametrize("target", [[3, 1], None, ta.Classes(2, 0), ta.TopK(2)])
@pytest.mark.parametrize("method", METHODS)
def test_maps_beside_ledgers_have_the_form_of_others(method: Any, target: Any) -> None:
    def model(x: Any, y: Any) -> Any:
        return network(x + y)

    network = resnet_like()
    made, pair = method(model), (PICTURES, PICTURES.flip(0) / 2)
    maps, ledgers = made.attribute(pair, target, return_ledger=True)
    for found, expected in zip(maps, made.attribute(pair, target), strict=True):
        assert_same(found, expected, 1e-12)
    for row, own in enumerate(ledgers):
        several = own if isinstance(own, list) else [own]
        sums = torch.stack([part[row].reshape(len(several), -1).sum(1) for part in maps]).sum(0)
        assert [one.inputs for one in several] == pytest.approx(sums.tolist(), rel=1e-9)


@pytest.mark.parametrize("keepdim", [False, True])
def test_one_score_of_a_batch_has_one_ledger(keepdim: bool) -> None:
    network = vgg_like()
    made = ta.LRP(lambda x: network(x)[:, 1:2].mean(0, keepdim))
    maps, (ledger,) = made.attribute(PICTURES, return_ledger=True)
    assert_same(maps, made.attribute(PICTURES), 1e-12)
    assert ledger.score == pytest.approx(network(PICTURES)[:, 1].mean().item(), rel=1e-12)
    assert ledger.inputs == pytest.approx(maps.sum().item(), rel=1e-9)
    assert abs(ledger.error) <= 1e-11 * abs(ledger.score)
    assert made.ledgers(PICTURES) == [ledger]


def test_examples_that_change_each_other_are_warned_of() -> None:
    network = vgg_like()
    made = ta.LRP(lambda x: network(x - x.mean(0) / 2))
    with pytest.warns(TorchattrWarning, match="depends on the others of its batch"):
        maps, ledgers = made.attribute(PICTURES, 1, return_ledger=True)
    for row, ledger in enumerate(ledgers):
        assert ledger.inputs == pytest.approx(maps[row].sum().item(), rel=1e-9)
        assert abs(ledger.error) <= 1e-11 * abs(ledger.score)


def test_a_batch_of_no_examples_has_no_ledgers() -> None:
    maps, ledgers = ta.LRP(vgg_like()).attribute(PICTURES[:0], 1, return_ledger=True)
    assert (maps.shape, ledgers) == (PICTURES[:0].shape, [])


def test_an_account_is_of_one_example() -> None:
    with refused(InputError, "inputs holds 2 examples", "return_ledger=True"):
        ta.LRP(vgg_like()).account(PICTURES, 1)


@pytest.mark.parametrize("call", ["account", "attribute"])
def test_an_account_refuses_what_the_attribution_refuses(call: str) -> None:
    def unknown(x: Any) -> Any:
        return x.flatten(1)[:, :4] % 0.3

    options = {"return_ledger": True} if call == "attribute" else {}
    one = PICTURES[:1]
    with refused(ta.NoRuleMatched, "remainder", "neither linear nor has a rule", "strict=False"):
        getattr(ta.LRP(unknown), call)(one, 1, **options)
    with pytest.warns(ta.CoverageWarning, match="remainder"):
        getattr(ta.LRP(unknown, strict=False), call)(one, 1, **options)
    with refused(ta.DisconnectedError, "LRP", "detached"):
        getattr(ta.LRP(lambda x: x.flatten(1).relu().detach()), call)(one, 1, **options)
    with refused(ta.TorchattrError, "target"):
        getattr(ta.LRP(vgg_like()), call)(one, [1, 2], **options)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_is_refused_for_any_input(method: Any) -> None:
    def model(x: Any, y: Any) -> Any:
        return x.relu() + y.float().relu()

    inputs = (torch.ones(1, 3), torch.ones(1, 3).half())
    for call in (method(model).attribute, method(model).ledgers):
        with refused(InputTypeError, "inputs are float16", "bfloat16 or float32"):
            call(inputs, 1)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_by_autocast_is_refused(method: Any) -> None:
    made = method(torch.nn.Linear(3, 2))
    calls = (made.attribute, made.account, made.ledgers)
    with torch.autocast("cpu", torch.float16):
        for call in calls:
            with refused(InputTypeError, "autocast('cpu')", "float16", "bfloat16 or float32"):
                call(torch.ones(1, 3), 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert made.attribute(torch.ones(1, 3), 1).isfinite().all()


@pytest.mark.parametrize("method", [ta.LayerLRP, ta.ExcitationBackprop])
def test_what_is_read_at_layers_has_no_account_of_the_inputs(method: Any) -> None:
    made = method(vgg_like(), "0")
    assert not any(hasattr(made, name) for name in ("account", "ledgers"))
    assert "return_ledger" not in inspect.signature(made.attribute).parameters


class TimeFirst(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step, self.head = torch.nn.Linear(3, 3), torch.nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.step(x.transpose(0, 1)).relu().mean(0))


def test_a_start_at_one_needs_values_by_example() -> None:
    method = ta.LayerLRP(TimeFirst(), "step", start="one")
    with refused(LayerError, "step", "(5, 2, 3)", "2 examples", "first dimension is the batch"):
        method.attribute(torch.rand(2, 5, 3), 1)


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
