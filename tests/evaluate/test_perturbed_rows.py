"""Noise that seeds and numbers determine, and the order of copies."""

from __future__ import annotations

import torch
from helpers import noise, refused

from torchattr.core.inputs import as_inputs
from torchattr.errors import InputError, ShapeError
from torchattr.evaluate.perturbed_rows import (
    SampleNoise,
    copies_at_once,
    copy_after_copy,
    side_by_side,
)


def test_noise_has_its_distribution() -> None:
    drawn = SampleNoise(as_inputs(torch.zeros(2, 50)), 0)
    (normal,), (uniform,) = drawn.normal(0, 100), drawn.uniform(0, 100)
    assert normal.shape == uniform.shape == (200, 50)
    assert abs(float(normal.mean())) < 0.05
    assert abs(float(normal.std()) - 1) < 0.05
    assert -1 <= float(uniform.min()) < -0.99
    assert 0.99 < float(uniform.max()) < 1


def test_one_seed_is_for_all_examples_and_inputs_differ() -> None:
    first, second = SampleNoise(as_inputs((torch.zeros(2, 3), torch.zeros(2, 3))), 5).normal(0, 1)
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_copies_change_places() -> None:
    x = torch.arange(6).reshape(3, 2)
    (rows,) = side_by_side([x], 2)
    assert rows[:, 0].tolist() == [0, 0, 2, 2, 4, 4]
    assert copy_after_copy(rows, 2)[:, 0].tolist() == [0, 2, 4, 0, 2, 4]


def test_a_batch_of_many_examples_is_copied_once() -> None:
    assert copies_at_once(as_inputs(noise(100, 3))) == 1
    assert copies_at_once(as_inputs(noise(2, 3))) > 1


def test_seeds_are_checked() -> None:
    with refused(ShapeError, "seed", "3 entries"):
        SampleNoise(as_inputs(torch.zeros(2, 3)), [1, 2, 3])
    with refused(InputError, "seed", "-1"):
        SampleNoise(as_inputs(torch.zeros(2, 3)), -1)
