"""Blurred baselines, as in the paper."""

from __future__ import annotations

import torch
from helpers import assert_same, noise, refused
from torch import nn

import torchattr as ta
from torchattr.errors import InputTypeError
from torchattr.evaluate import insertion_curve
from torchattr.evaluate.replacement import blurred

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
