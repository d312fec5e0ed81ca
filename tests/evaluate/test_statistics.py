"""Statistics of tensors that come one by one, against those of all together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers import assert_same, noise
from torch import Tensor

from torchattr.evaluate import MSE, Count, Max, Mean, Min, Statistic, StdDev, Total, Var

VALUES = 1000 + noise(9, 2, 3)
EXPECTED: dict[str, tuple[Statistic, Callable[[Tensor], Tensor]]] = {
    "mean": (Mean(), lambda x: x.mean(0)),
    "mse": (MSE(), lambda x: (x - x.mean(0)).square().sum(0)),
    "variance": (Var(), lambda x: x.var(0, correction=0)),
    "sample_variance": (Var(order=1), lambda x: x.var(0)),
    "variance(2)": (Var(order=2), lambda x: x.var(0, correction=2)),
    "std_dev": (StdDev(), lambda x: x.std(0, correction=0)),
    "sample_std_dev": (StdDev(order=1), lambda x: x.std(0)),
    "min": (Min(), lambda x: x.amin(0)),
    "max": (Max(), lambda x: x.amax(0)),
    "sum": (Total(), lambda x: x.sum(0)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_is_what_all_together_have(name: str) -> None:
    stat, expected = EXPECTED[name]
    assert stat.get() is None
    for value in VALUES:
        stat.update(value)
    found = stat.get()
    assert isinstance(found, Tensor)
    assert_same(found, expected(VALUES), 1e-10)
    assert stat.name == name
    assert type(stat)("own").name == "own"


def test_count_counts_tensors() -> None:
    count = Count()
    assert count.get() is None
    for value in VALUES:
        count.update(value)
    assert count.get() == len(VALUES)


def test_a_single_tensor_does_not_vary() -> None:
    for stat in (Var(), Var(order=1), StdDev(order=1), MSE()):
        stat.update(VALUES[0])
        found = stat.get()
        assert isinstance(found, Tensor)
        assert not found.any()


def test_integers_are_averaged_exactly() -> None:
    mean = Mean()
    for value in (torch.tensor(1), torch.tensor(2)):
        mean.update(value)
    assert mean.get() == 1.5


@pytest.mark.parametrize("stat", [Min(), Max(), Total(), Mean(), MSE()])
def test_nothing_of_the_caller_is_kept_or_changed(stat: Statistic) -> None:
    first, second = torch.ones(2), torch.full((2,), 2.0)
    for value in (first, second):
        stat.update(value)
    before = stat.get()
    assert isinstance(before, Tensor)
    before = before.clone()
    assert first.tolist() == [1, 1]
    first.zero_()
    second.zero_()
    after = stat.get()
    assert isinstance(after, Tensor)
    assert torch.equal(after, before)
