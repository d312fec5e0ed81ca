"""Blurred baselines, as in the paper."""

from __future__ import annotations

import torch
from helpers import assert_same, noise, refused
from torch import nn

import torchattr as ta
from torchattr.core.inputs import as_inputs
from torchattr.errors import InputTypeError
from torchattr.evaluate import insertion_curve, uniform_noise
from torchattr.evaluate.replacement import UniformNoise, as_replaced, averaged, blurred

EXACT = 1e-12


def test_blurring_equals_a_truncated_gaussian() -> None:
    x = noise(1, 2, 13, 15)
    offsets = torch.arange(-5, 6).double()
    kernel = torch.exp(-(offsets**2) / 50)
    kernel /= kernel.sum()
    padded = nn.functional.pad(x, (5, 5, 5, 5), mode="reflect")
    expected = sum(
        kernel[i] * kernel[j] * padded[:, :, i : i + 13, j : j + 15]
        for i in range(11)
        for j in range(11)
    )
    assert_same(blurred(x), expected, EXACT)


def test_what_cannot_be_blurred_is_said() -> None:
    with refused(ta.ShapeError, "'blur'", "(1, 4)", "pass a number"):
        insertion_curve(lambda v: v, torch.ones(1, 4), torch.ones(1, 4))
    with refused(ta.ShapeError, "at least 6 pixels", "(1, 1, 5, 9)"):
        insertion_curve(lambda v: v, torch.ones(1, 1, 5, 9), torch.ones(1, 1, 5, 9))
    with refused(InputTypeError, "'blur'", "int64"):
        insertion_curve(lambda v: v, torch.ones(1, 1, 9, 9).long(), torch.ones(1, 1, 9, 9))


def test_the_mean_is_that_of_each_channel() -> None:
    x = noise(2, 3, 4, 5)
    expected = [[one.flatten().tolist() for one in channels] for channels in x]
    found = averaged(x)
    for n in range(2):
        for c in range(3):
            mean = sum(expected[n][c]) / 20
            assert abs(found[n, c, 0, 0].item() - mean) < EXACT
    assert averaged(noise(2, 6)).shape == (2, 1)


def test_noise_is_uniform_within_each_channel() -> None:
    x = noise(2, 3, 40, 50) * torch.tensor([1.0, 5.0, 0.1]).double().reshape(1, 3, 1, 1)
    before = x.clone()
    found = uniform_noise(x)
    for n in range(2):
        for c in range(3):
            low, high = x[n, c].min(), x[n, c].max()
            share = (found[n, c] - low) / (high - low)
            assert share.min() >= 0
            assert share.max() < 1
            assert abs(share.mean() - 0.5) < 0.05
            assert abs(share.std() - 12**-0.5) < 0.02
    assert torch.equal(x, before)
    assert_same(uniform_noise(x[1:]), found[1:], EXACT)
    assert torch.equal(uniform_noise(x), found)
    assert not torch.equal(uniform_noise(x, 1), found)


def test_samples_and_inputs_have_noise_of_their_own() -> None:
    drawn = UniformNoise(as_inputs((noise(1, 3), noise(1, 3))), 0)
    first, second = drawn.sample(0)
    assert not torch.equal(first, second)
    assert not torch.equal(first, drawn.sample(1)[0])
    assert torch.equal(first, uniform_noise(noise(1, 3)))


def test_baselines_have_names() -> None:
    x = noise(2, 3, 8, 8)
    for name, expected in {"mean": averaged(x), "uniform": uniform_noise(x)}.items():
        (found,) = as_replaced(name, as_inputs(x))
        assert torch.equal(torch.as_tensor(found), expected)
    with refused(ta.InputError, "one of 'blur', 'mean', 'uniform', got 'grey'"):
        as_replaced("grey", as_inputs(x))
    with refused(InputTypeError, "'mean' replacements need floating inputs", "int64"):
        as_replaced("mean", as_inputs(torch.ones(1, 1, 9, 9).long(), differentiable=False))
