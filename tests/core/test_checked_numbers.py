"""Checks of numbers; those of counts are tested with the methods that take them, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import refused

from torchattr.core.checked_numbers import (
    as_list,
    as_number,
    checked_count,
    checked_number,
    checked_pair,
    checked_share,
    described,
)
from torchattr.errors import InputError, InputTypeError

NAN, INF = float("nan"), float("inf")


def test_numbers_are_returned_as_they_are() -> None:
    assert [checked_number(one, "n") for one in (2, -0.5, np.float32(0.5))] == [2, -0.5, 0.5]
    assert checked_number(INF, "n", finite=False) == INF
    assert [checked_share(one, "n") for one in (0, 1, 0.25)] == [0, 1, 0.25]
    assert as_number(NAN, "n") != as_number(NAN, "n")
    assert checked_count(np.int64(3), "n") == 3


@pytest.mark.parametrize("wrong", ["a", None, [], [1.0], True, torch.ones(1), object(), b"1"])
@pytest.mark.parametrize("check", [as_number, checked_number, checked_share])
def test_what_is_no_number_is_named(check: Any, wrong: Any) -> None:
    with refused(InputTypeError, "alpha must be a number, got", type(wrong).__name__):
        check(wrong, "alpha")


def test_numbers_out_of_range_are_named() -> None:
    for number in (-0.1, 1.5):
        with refused(InputError, "alpha must lie in 0..1", str(number)):
            checked_share(number, "alpha")
    for number in (NAN, INF):
        with refused(InputError, "alpha must be finite", str(number)):
            checked_number(number, "alpha")
    with refused(InputError, "alpha must be a number, got nan"):
        checked_number(NAN, "alpha", finite=False)
    with refused(InputError, "alpha must be at least 0, got -1"):
        checked_number(-1, "alpha", least=0)


def test_long_values_are_shortened() -> None:
    assert len(described("7" * 1000)) < 50


def test_numbers_may_be_what_sums_of_tensors_and_arrays_are() -> None:
    mean = torch.tensor([0.25, 0.75]).mean()
    for check in (as_number, checked_number, checked_share):
        assert [check(one, "n") for one in (mean, np.array(0.5), mean.numpy())] == [0.5] * 3
    with refused(InputTypeError, "n must be a number, got bool True"):
        as_number(torch.tensor(True), "n")


@pytest.mark.parametrize(
    "pair", [(2, 3), [2, 3], torch.Size([2, 3]), np.array([2, 3]), torch.tensor([2, 3])]
)
def test_pairs_are_of_any_sequence(pair: Any) -> None:
    found = checked_pair(pair, "size", "a height and a width")
    assert found == (2, 3)
    assert [type(one) for one in found] == [int, int]


@pytest.mark.parametrize("wrong", [3, None, (2,), "ab", (2, 1.5), np.array(2), torch.ones(2)])
def test_what_is_no_pair_is_named(wrong: Any) -> None:
    with refused(InputTypeError, "size must be"):
        checked_pair(wrong, "size", "a height and a width")


def test_several_values_are_of_any_iterable() -> None:
    for several in (
        (1, 2),
        np.array([1, 2]),
        torch.tensor([1, 2]),
        iter([1, 2]),
        {1: 0, 2: 0}.keys(),
    ):
        assert as_list(several, "sizes", "a sequence") == [1, 2]
    for wrong in (3, None, "ab", {1: 0}, torch.tensor(1), np.array(1)):
        with refused(InputTypeError, "sizes must be a sequence, got"):
            as_list(wrong, "sizes", "a sequence")
