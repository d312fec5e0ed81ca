"""Variants that follow one another, against whole images that are changed step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torchattr.incremental.following import Following, latest, read_by
from torchattr.kernels import (
    Boxes,
    Convolution,
    Epilogue,
    Patches,
    Pooling,
    Request,
    choose_patches,
    requested_backend,
)

SIZE = 7
EXACT = 1e-13


@dataclass
class Steps:
    """Random changes of two images, one after another.

    Attributes:
        patches: the changes.
        pictures: what each variant is as a whole, `(variants, C, h, w)`.
    """

    patches: Patches
    pictures: Tensor


def steps(seed: int = 0, count: int = 9) -> Steps:
    generator = np.random.default_rng(seed)
    image = np.random.default_rng(0).integers(0, 2, count)  # The same for all seeds.
    low = generator.integers(0, SIZE, (count, 2))
    high = np.minimum(low + generator.integers(0, 5, (count, 2)), SIZE)
    boxes = Boxes.of(image, low[:, 0], low[:, 1], high[:, 0], high[:, 1])
    clean, rows = noise(2, SIZE, SIZE, 4), noise(boxes.rows, 4, seed=seed + 1)
    now, pictures = clean.clone(), []
    for number, top, left, bottom, right, start in boxes.table:
        own = rows[start : start + (bottom - top) * (right - left)]
        now[number, top:bottom, left:right] = own.reshape(bottom - top, right - left, 4)
        pictures.append(now[number].clone())
    return Steps(Patches(clean, rows, boxes), torch.stack(pictures).permute(0, 3, 1, 2))


def cut_out(whole: Tensor, boxes: Boxes) -> Tensor:
    variant, y, x = (torch.from_numpy(part) for part in boxes.positions)
    return whole.permute(0, 2, 3, 1)[variant, y, x]


REQUEST = Request(torch.device("cpu"), torch.float64)
FOLLOWING = Following(choose_patches(REQUEST, requested_backend()))


@pytest.mark.parametrize("seed", range(4))
def test_pixels_outside_a_box_are_those_of_the_step_before(seed: int) -> None:
    made, other = steps(seed), steps(seed + 10).patches.boxes
    read = Boxes.of(made.patches.boxes.table[:, 0], *other.table.T[1:5])
    assert torch.equal(FOLLOWING.gather(made.patches, read), cut_out(made.pictures, read))
    own = made.patches.boxes
    assert FOLLOWING.gather(made.patches, own) is made.patches.changed


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("extent", "stride", "padding", "dilation"),
    [(3, 1, 1, 1), (3, 2, 1, 1), (2, 2, 0, 1), (3, 1, 2, 2), (1, 1, 0, 1)],
)
def test_a_convolution_sees_the_step_before(
    seed: int, extent: int, stride: int, padding: int, dilation: int
) -> None:
    made, weight = steps(seed), noise(5, 4, extent, extent, seed=9)
    conv = Convolution(weight, None, (stride,) * 2, (padding,) * 2, (dilation,) * 2)
    whole = F.conv2d(made.pictures, weight, None, stride, padding, dilation)
    boxes = made.patches.boxes.reached(
        conv.extent, conv.stride, conv.padding, conv.dilation, whole.shape[2:]
    )
    found = FOLLOWING.convolve(made.patches, boxes, conv, Epilogue(lower=0.0))
    assert_same(found, cut_out(whole.relu(), boxes), EXACT)


def test_a_sum_sees_the_step_before_of_both() -> None:
    made, other, weight = steps(1), steps(5), noise(4, 4, 3, 3, seed=9)
    conv = Convolution(weight, None, padding=(1, 1))
    whole = F.conv2d(made.pictures, weight, padding=1) + other.pictures
    reached = made.patches.boxes.reached((3, 3), (1, 1), (1, 1), (1, 1), (SIZE, SIZE))
    boxes = reached.joined(other.patches.boxes)
    found = FOLLOWING.convolve(made.patches, boxes, conv, Epilogue(residual=other.patches))
    assert_same(found, cut_out(whole, boxes), EXACT)


@pytest.mark.parametrize("maximum", [True, False])
def test_a_pool_sees_the_step_before(maximum: bool) -> None:
    made, pooling = steps(3), Pooling(maximum, (3, 3), (2, 2), (1, 1))
    pool = F.max_pool2d if maximum else F.avg_pool2d
    whole = pool(made.pictures, 3, 2, 1)
    boxes = made.patches.boxes.reached((3, 3), (2, 2), (1, 1), (1, 1), whole.shape[2:])
    assert_same(FOLLOWING.pool(made.patches, boxes, pooling), cut_out(whole, boxes), EXACT)


@given(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.integers(0, 3)),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 2),
)
def test_what_a_window_reads(
    box: tuple[int, int, int, int], extent: int, stride: int, padding: int, dilation: int
) -> None:
    top, left, high, wide = box
    (found,) = read_by(
        Boxes.of(*(np.array([n]) for n in (0, top, left, top + high, left + wide))),
        Pooling(True, (extent, 1), (stride, 1), (padding, 0), (dilation, 1)),
        (9, 9),
    ).table
    rows = {
        y * stride - padding + tap * dilation
        for y in range(top, top + high)
        for tap in range(extent)
    } & set(range(9))
    if not wide:
        assert found[1:5].tolist() == [0, 0, 0, 0]
    if not rows or not wide:
        return
    # Where taps skip rows, the box may begin or end in the gap.
    gap = max(stride, dilation)
    assert min(rows) - gap < found[1] <= min(rows)
    assert max(rows) < found[3] <= max(rows) + gap
    assert (found[2], found[4]) == (left, min(left + wide, 9))


@given(st.lists(st.integers(0, 6)))
def test_the_last_of_equal_places(places: list[int]) -> None:
    expected = [at for at, place in enumerate(places) if place not in places[at + 1 :]]
    assert latest(np.array(places, dtype=np.int64), 7).tolist() == expected
