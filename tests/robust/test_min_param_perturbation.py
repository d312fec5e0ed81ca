"""The smallest parameter, searched in order and by bisection."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import noise, refused
from torch import Tensor

from torchattr.errors import InputError, InputTypeError, OutputError, TargetError
from torchattr.robust import MinParamPerturbation
from torchattr.robust.min_param_perturbation import largest_at_target

X = torch.zeros(2, 4)


def model(x: Tensor) -> Tensor:
    return torch.stack([1 - x.mean(1), x.mean(1)], 1)


def brighter(x: Tensor, by: float, factor: float = 1.0) -> Tensor:
    return x + factor * by


def search(**options: Any) -> MinParamPerturbation:
    return MinParamPerturbation(model, brighter, "by", 0.0, 1.0, 0.1, **options)


@pytest.mark.parametrize("at_once", [1, 3, 50])
@pytest.mark.parametrize("mode", ["linear", "binary"])
def test_both_find_the_first_that_succeeds(mode: str, at_once: int) -> None:
    changed, found = search(mode=mode).evaluate(X, target=0, perturbations_per_eval=at_once)
    assert found == pytest.approx(0.6)
    assert torch.equal(changed, X + found)
    options = {"target": 0, "attack_kwargs": {"factor": 10.0}}
    assert search(mode=mode).evaluate(X, **options)[1] == pytest.approx(0.1)


@pytest.mark.parametrize("mode", ["linear", "binary"])
def test_nothing_is_found_if_nothing_succeeds(mode: str) -> None:
    options = {"target": 0, "attack_kwargs": {"factor": 0.0}}
    assert search(mode=mode).evaluate(X, **options) == (None, None)
    # The end is exclusive.
    options = {"target": 0, "attack_kwargs": {"factor": 0.51}}
    assert search(mode=mode).evaluate(X, **options) == (None, None)


def test_candidates_are_not_sums_of_rounding_errors() -> None:
    tried: list[float] = []
    search_all = MinParamPerturbation(
        model, lambda x, by: tried.append(by) or x, "by", 0.0, 1.0, 0.1
    )
    search_all.evaluate(X, target=0)
    assert tried == [number * 0.1 for number in range(10)]


def test_bisection_asks_seldom() -> None:
    tried: list[float] = []

    def attack(x: Tensor, by: float) -> Tensor:
        tried.append(by)
        return x + by / 1000

    wide = MinParamPerturbation(model, attack, "by", 0, 1024, 1, mode="BINARY")
    assert wide.evaluate(X, target=0)[1] == 501
    assert len(tried) <= 11


def test_an_attack_with_random_numbers_is_tried_again() -> None:
    calls: list[float] = []

    def sometimes(x: Tensor, by: float) -> Tensor:
        calls.append(by)
        return x + (1 if len(calls) % 3 == 0 else 0)

    tries = MinParamPerturbation(model, sometimes, "by", 0, 9, 1, num_attempts=3)
    assert tries.evaluate(X, target=0)[1] == 0


def test_preparation_is_before_or_after_the_attack() -> None:
    def louder(text: str, by: int) -> str:
        return text + "!" * by

    def prepare(text: str) -> Tensor:
        return torch.full((1, 4), len(text) / 10)

    options: dict[str, Any] = {"preproc_fn": prepare, "apply_before_preproc": True}
    texts = MinParamPerturbation(model, louder, "by", 0, 20, 1, **options)
    assert texts.evaluate("abc", target=0) == ("abc!!!", 3)
    after = MinParamPerturbation(model, brighter, "by", 0.0, 1.0, 0.1, preproc_fn=prepare)
    assert after.evaluate("abc", target=0)[1] == pytest.approx(0.3)


def test_wrong_arguments_are_refused() -> None:
    with refused(InputError, "arg_max", "arg_step"):
        MinParamPerturbation(model, brighter, "by", 0.0, 0.1, 0.2)
    with refused(InputError, "mode", "'binary'", "ternary"):
        search(mode="ternary")
    with refused(OutputError, "correct_fn", "(2,)"):
        MinParamPerturbation(lambda x: x[:, 0], brighter, "by", 0, 3, 1).evaluate(
            noise(2, 3), target=0
        )


@pytest.mark.parametrize("name", ["model", "attack", "arg_name", "preproc_fn", "correct_fn"])
def test_what_cannot_be_called_is_named(name: str) -> None:
    given: dict[str, Any] = {
        "model": lambda x: x,
        "attack": lambda x, by: x,
        "arg_name": "by",
        "arg_min": 0.0,
        "arg_max": 2.0,
        "arg_step": 1.0,
        name: 3,
    }
    with refused(InputTypeError, f"{name} must be"):
        MinParamPerturbation(**given)


def test_targets_that_name_no_class_are_named() -> None:
    for target in ("a", [], [0, 1, 2], None):
        with refused(TargetError, "target must be a class, or one for each of 2 examples"):
            largest_at_target(torch.rand(2, 3), target)


def test_targets_may_be_a_column() -> None:
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    assert largest_at_target(scores, torch.tensor([[1], [0]]))
    assert not largest_at_target(scores, torch.tensor([[1], [1]]))
