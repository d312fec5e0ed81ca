"""Intervals of means: against plain loops, and by how often they hold the true mean."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from helpers import assert_same, noise, refused

from torchattr.errors import FewSamplesWarning, InputError, InputTypeError, ShapeError
from torchattr.evaluate import bootstrap_interval, resampled_means

VALUES = noise(12, 3)


def test_draws_are_means_of_rows_drawn_with_replacement() -> None:
    generator = torch.Generator().manual_seed(7)
    rows = torch.randint(12, (5, 12), generator=generator).tolist()
    expected = [
        [sum(float(VALUES[row, column]) for row in drawn) / 12 for column in range(3)]
        for drawn in rows
    ]
    found = resampled_means(VALUES, resamples=5, seed=7)
    assert_same(found, torch.tensor(expected, dtype=torch.float64), 1e-12)


def test_bounds_are_quantiles_of_the_draws() -> None:
    found = bootstrap_interval(VALUES, level=0.8, resamples=300, seed=2)
    means = resampled_means(VALUES, resamples=300, seed=2).numpy()
    assert_same(found.value, VALUES.mean(0), 1e-12)
    assert_same(found.low, torch.from_numpy(np.quantile(means, 0.1, axis=0)), 1e-12)
    assert_same(found.high, torch.from_numpy(np.quantile(means, 0.9, axis=0)), 1e-12)
    assert found.samples.tolist() == [12, 12, 12]


def test_intervals_hold_the_true_mean_as_often_as_they_say() -> None:
    drawn = random.Random(1)
    held = 0
    for seed in range(200):
        sample = [drawn.gauss(3, 2) for _ in range(40)]
        found = bootstrap_interval(sample, level=0.9, resamples=400, seed=seed)
        held += bool(found.low <= 3 <= found.high)
    assert 168 <= held <= 190


def test_nan_is_left_out() -> None:
    holed = torch.cat([VALUES, torch.full((2, 3), torch.nan, dtype=VALUES.dtype)])
    assert_same(bootstrap_interval(holed).value, VALUES.mean(0), 1e-12)
    assert bootstrap_interval(holed).samples.tolist() == [12, 12, 12]
    nothing = bootstrap_interval(torch.full((12,), torch.nan))
    assert str(nothing) == "undefined"
    assert nothing.as_dict()["samples"] == 0


def test_the_same_seed_gives_the_same_interval() -> None:
    one, same, other = (bootstrap_interval(VALUES, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.low, same.low)
    assert not torch.equal(one.low, other.low)


def test_few_samples_are_said_and_one_has_no_interval() -> None:
    with pytest.warns(FewSamplesWarning, match="4 samples is too narrow"):
        few = bootstrap_interval(VALUES[:4])
    assert (few.low < few.high).all()
    with pytest.warns(FewSamplesWarning, match="at least two samples"):
        alone = bootstrap_interval(torch.tensor([0.25]))
    assert str(alone) == "0.25"
    assert alone.low.isnan()
    assert alone.high.isnan()


def test_an_interval_reads_as_numbers() -> None:
    found = bootstrap_interval(torch.linspace(0, 1, 50)[:, None].expand(50, 2))
    assert str(found) == "0.50 [0.41, 0.58]; 0.50 [0.41, 0.58]"
    assert repr(found[0]) == "Interval(0.50 [0.41, 0.58])"
    tiny = bootstrap_interval(torch.linspace(0, 1e-4, 50))
    assert str(tiny) == "5.0e-05 [4.1e-05, 5.8e-05]"
    assert found[1].as_dict()["level"] == 0.95
    assert len(found) == 2


def test_wrong_arguments_are_refused() -> None:
    with refused(ShapeError, "a row for each example"):
        bootstrap_interval(0.5)
    with refused(InputTypeError, "array of numbers", "str"):
        bootstrap_interval("values")
    with refused(InputError, "no examples"):
        bootstrap_interval([])
    with refused(InputError, "infinite"):
        bootstrap_interval([1.0, float("inf")])
    with refused(InputError, "level", "95"):
        bootstrap_interval(VALUES, level=95)
    with refused(InputError, "resamples", "0"):
        bootstrap_interval(VALUES, resamples=0)


@pytest.mark.parametrize("name", ["level", "resamples", "seed"])
def test_numbers_of_wrong_types_are_refused(name: str) -> None:
    for wrong in ("a", None, []):
        with refused(InputTypeError, f"{name} must be"):
            bootstrap_interval(VALUES, **{name: wrong})
    with refused(InputTypeError, "values must be a tensor or an array"):
        bootstrap_interval([[1.0], [2.0, 3.0]])


def test_arrays_of_every_layout_are_measured() -> None:
    expected = bootstrap_interval(VALUES)
    read_only = VALUES.numpy().copy()
    read_only.flags.writeable = False
    for values in (read_only, VALUES.numpy().astype(">f8"), VALUES.numpy().astype(np.longdouble)):
        assert torch.equal(bootstrap_interval(values).low, expected.low)


def test_a_level_may_be_a_tensor() -> None:
    found = bootstrap_interval(VALUES, level=torch.tensor(0.5, dtype=torch.float64))  # type: ignore[arg-type]
    assert found.level == 0.5
