"""A metric under several attacks, of batches and of all."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from torch import Tensor

from torchattr.errors import InputError, InputTypeError, TorchattrWarning
from torchattr.robust import FGSM, AttackComparator

Result = namedtuple("Result", "score share")


def metric(output: Tensor, target: int) -> Any:
    return Result(output[:, target], (output > 0).double().mean(1))


class Counting:
    """Adds 1, 2, 3, ..., one after the other."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.count += 1
        return x + self.count


@pytest.mark.parametrize("at_once", [1, 2, 10])
def test_statistics_are_over_attempts_and_the_summary_over_batches(at_once: int) -> None:
    comparator = AttackComparator(lambda x: x, metric)
    comparator.add_attack(Counting(), num_attempts=3)
    comparator.add_attack(lambda x: 2 * x, name="doubled")
    first, second = noise(2, 3), noise(4, 3, seed=2)
    found = comparator.evaluate(first, target=1, perturbations_per_eval=at_once)
    assert_same(found["Original"].score, first[:, 1], 1e-12)
    assert_same(found["doubled"]["mean"].score, 2 * first[:, 1], 1e-12)
    assert_same(found["Counting"]["mean"].score, first[:, 1] + 2, 1e-12)
    assert_same(found["Counting"]["min"].score, first[:, 1] + 1, 1e-12)
    assert_same(found["Counting"]["max"].score, first[:, 1] + 3, 1e-12)
    comparator.evaluate(second, target=1)
    total = comparator.summary()
    mean = (first[:, 1].mean() + second[:, 1].mean()) / 2
    assert_same(total["Original"]["mean"].score, mean, 1e-12)
    assert set(total) == {
        "Original",
        "doubled",
        *(f"Counting {stat} Attempt" for stat in ("Mean", "Min", "Max")),
    }
    comparator.reset()
    assert comparator.summary() == {}


def test_attacks_get_the_arguments_that_they_name() -> None:
    comparator = AttackComparator(lambda x: x, lambda output, target: output[:, target])
    attack = FGSM(lambda x: x)
    options: dict[str, Any] = {"attack_kwargs": {"epsilon": 0.5}}
    comparator.add_attack(attack, additional_attack_arg_names=["target"], **options)
    x = noise(2, 3)
    found = comparator.evaluate(x, target=1)
    assert_same(found["FGSM"]["mean"], attack.perturb(x, 0.5, 1)[:, 1], 1e-12)


def test_preparation_is_before_or_after() -> None:
    comparator = AttackComparator(lambda x: x, lambda output: output.sum(), preproc_fn=torch.tensor)
    comparator.add_attack(lambda numbers: [*numbers, 5.0], name="before")
    comparator.add_attack(lambda x: 10 * x, name="after", apply_before_preproc=False)
    found = comparator.evaluate([1.0, 2.0])
    assert [float(found[name]["mean"]) for name in ("before", "after")] == [8.0, 30.0]


def test_names_are_taken_once_and_missing_arguments_reported() -> None:
    comparator = AttackComparator(lambda x: x, lambda output: output.sum())
    comparator.add_attack(Counting(), additional_attack_arg_names=["label"])
    with refused(InputError, "'Counting'", "taken"):
        comparator.add_attack(Counting())
    with pytest.warns(TorchattrWarning, match="label.*'Counting'"):
        comparator.evaluate(noise(1, 2))


def test_what_cannot_be_called_is_named() -> None:
    with refused(InputTypeError, "model must be an nn.Module or a function, got str"):
        AttackComparator("net", lambda x: x)  # type: ignore[arg-type]
    with refused(InputTypeError, "preproc_fn must be a function"):
        AttackComparator(lambda x: x, lambda x: x, "a")  # type: ignore[arg-type]
    comparator = AttackComparator(lambda x: x, lambda x: x)
    with refused(InputTypeError, "attack must be an Attack or a function"):
        comparator.add_attack("a")  # type: ignore[arg-type]
    with refused(InputTypeError, "name must be a text, got list"):
        comparator.add_attack(lambda x: x, [])  # type: ignore[arg-type]
