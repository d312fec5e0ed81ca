"""Checks of counts, seeds and standard deviations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import refused

import torchattr as ta
from torchattr.core.inputs import as_inputs
from torchattr.errors import InputTypeError
from torchattr.methods._perturbation.checked import checked_count, checked_seed, checked_stdevs

PAIR = as_inputs((torch.zeros(2, 1), torch.zeros(2, 3)))


def test_what_is_right_is_returned() -> None:
    assert checked_count(4, "n") == 4
    assert checked_count(0, "n", least=0) == 0
    assert [checked_seed(seed) for seed in (0, 2**64 - 1)] == [0, 2**64 - 1]
    assert checked_stdevs(0.5, PAIR) == [0.5, 0.5]
    assert checked_stdevs([1, 0.0], PAIR) == [1, 0.0]


@pytest.mark.parametrize("value", [2.0, "3", None, True, torch.tensor(3)])
def test_no_counts(value: Any) -> None:
    with refused(InputTypeError, "n must be an int or None", type(value).__name__):
        checked_count(value, "n", expected="an int or None")
    with refused(InputTypeError, "seed must be an int", type(value).__name__):
        checked_seed(value)


def test_a_long_value_is_not_printed_whole() -> None:
    with pytest.raises(InputTypeError) as error:
        checked_count("7" * 1000, "n")
    assert len(str(error.value)) < 100


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: checked_count(0, "n"), ("n must be at least 1", "0")),
        (lambda: checked_count(1, "n", 2), ("n must be at least 2", "1")),
        (lambda: checked_seed(-1), ("seed", "at least 0", "-1")),
        (lambda: checked_seed(2**64), ("seed", "below 2**64")),
        (lambda: checked_stdevs(-1, PAIR), ("stdevs", "-1", "pass 0 for no noise")),
        (lambda: checked_stdevs((0, float("nan")), PAIR), ("stdevs", "finite", "nan")),
        (lambda: checked_stdevs((1.0,), PAIR), ("stdevs", "1 entries for 2")),
    ],
)
def test_out_of_range(call: Any, words: tuple[str, ...]) -> None:
    with refused(ta.InputError, *words):
        call()


def test_no_standard_deviations() -> None:
    for value in ("wide", None, True, torch.ones(2)):
        with refused(InputTypeError, "stdevs must hold numbers", type(value).__name__):
            checked_stdevs(value, PAIR)
