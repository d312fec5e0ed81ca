"""Targets of segmentations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from torchattr.core.segmentation_targets import Mask, Segment
from torchattr.errors import InputError, InputTypeError, TargetError

SCORES = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
HALF = torch.zeros(4, 5, dtype=torch.bool)
HALF[:2] = True


@pytest.mark.parametrize(
    ("category", "mask", "expected"),
    [
        (1, HALF, SCORES[:, 1, :2].sum((1, 2))),
        (1, HALF.numpy(), SCORES[:, 1, :2].sum((1, 2))),
        (1, HALF[None], SCORES[:, 1, :2].sum((1, 2))),
        (1, HALF.float() * 0.5, SCORES[:, 1, :2].sum((1, 2)) / 2),
        (np.int64(1), HALF.tolist(), SCORES[:, 1, :2].sum((1, 2))),
        (
            [0, 2],
            torch.stack([HALF, ~HALF]),
            torch.stack([SCORES[0, 0, :2].sum(), SCORES[1, 2, 2:].sum()]),
        ),
    ],
)
def test_mask(category: Any, mask: Any, expected: torch.Tensor) -> None:
    torch.testing.assert_close(Mask(category, mask)(SCORES), expected)


def test_masks_of_volumes() -> None:
    volume = SCORES[:, :, None].expand(2, 3, 2, 4, 5)
    cube = torch.ones(2, 4, 5)
    torch.testing.assert_close(Mask(2, cube)(volume), 2 * SCORES[:, 2].sum((1, 2)))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (torch.zeros(4, 5), InputError, "mask is empty"),
        (torch.full((4, 5), float("nan")), InputError, "NaN or infinite"),
        ("mask.png", InputTypeError, "got str"),
        (None, InputTypeError, "got NoneType"),
        (1, InputTypeError, r"\(H, W\) or \(N, H, W\), got 1"),
    ],
)
def test_masks_are_checked_at_once(mask: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Mask(0, mask)


@pytest.mark.parametrize(
    ("target", "output", "message"),
    [
        (Mask(0, torch.ones(8, 5)), SCORES, r"\(8, 5\).*needed is \(4, 5\).*resize it, F.interp"),
        (Mask(0, torch.ones(3, 4, 5)), SCORES, r"needed is \(4, 5\), or \(2, 4, 5\)"),
        (Mask(0, torch.stack([HALF, HALF & ~HALF])), SCORES, "mask is empty for example 1"),
        (Mask(3, HALF), SCORES, "category 3 is out of range"),
        (Mask(-1, HALF), SCORES, "category -1 is out of range"),
        (Mask(0, HALF), SCORES[:, :, 0, 0], "Mask needs scores for each position"),
        (Segment(0), SCORES[:, :, 0, 0], "Segment needs scores for each position"),
        (Segment([0, 1, 2]), SCORES, "category has 3 entries for a batch of 2"),
    ],
)
def test_refuses(target: Any, output: torch.Tensor, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        target(output)


@pytest.mark.parametrize("category", [0, [2, 1]])
def test_segment(category: Any) -> None:
    classes = [category] * 2 if isinstance(category, int) else category
    expected = [SCORES[n, c][SCORES[n].argmax(0) == c].sum().item() for n, c in enumerate(classes)]
    assert Segment(category)(SCORES).tolist() == pytest.approx(expected)


def test_the_segment_stays_that_of_the_unchanged_input() -> None:
    fixed = Segment(0).fixed(SCORES)
    changed = SCORES.flip(1)
    where = SCORES.argmax(1) == 0
    torch.testing.assert_close(fixed(changed), (changed[:, 0] * where).sum((1, 2)))


def test_the_segment_of_a_single_class_is_positive() -> None:
    torch.testing.assert_close(Segment(0)(SCORES[:, :1]), SCORES[:, 0].relu().sum((1, 2)))


def test_a_segment_without_positions_is_refused() -> None:
    scores = SCORES.clone()
    scores[1, 0] = -9
    present = sorted(set(scores[1].argmax(0).flatten().tolist()))
    assert present == [1, 2]
    with pytest.raises(
        TargetError, match=r"class 0 at no position of example 1; .* classes \d, \d\."
    ):
        Segment(0)(scores)
    with pytest.raises(TargetError, match="no score is positive"):
        Segment(0)(-SCORES[:, :1].abs())
