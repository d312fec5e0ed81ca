"""Similarities of maps, against plain loops from their papers and against scikit-image."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import pytest
import torch
from helpers import assert_same, noise, refused
from measured import ranks
from skimage.metrics import structural_similarity as of_scikit_image
from torch import Tensor

from torchattr.errors import InputError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate import map_similarity

A, B = noise(3, 9, 13), noise(3, 9, 13, seed=2) + 0.4 * noise(3, 9, 13)


def stretched(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    low, high = min(map(min, rows)), max(map(max, rows))
    return [[(value - low) / (high - low) for value in row] for row in rows]


def ssim(a: Tensor, b: Tensor) -> float:
    """Wang et al. 2004, one window after another."""
    first, second = stretched(a.tolist()), stretched(b.tolist())
    sizes = [min(11, size if size % 2 else size - 1) for size in a.shape]
    bells = [[math.exp(-((k - n // 2) ** 2) / 4.5) for k in range(n)] for n in sizes]
    weights = [[x * y for y in bells[1]] for x in bells[0]]
    total = sum(map(sum, weights))
    found = []
    for top in range(a.shape[0] - sizes[0] + 1):
        for left in range(a.shape[1] - sizes[1] + 1):
            places = [(i, j) for i in range(sizes[0]) for j in range(sizes[1])]
            window = [
                (weights[i][j] / total, first[top + i][left + j], second[top + i][left + j])
                for i, j in places
            ]
            mean_a = sum(w * x for w, x, _ in window)
            mean_b = sum(w * y for w, _, y in window)
            var_a = sum(w * (x - mean_a) ** 2 for w, x, _ in window)
            var_b = sum(w * (y - mean_b) ** 2 for w, _, y in window)
            both = sum(w * (x - mean_a) * (y - mean_b) for w, x, y in window)
            c1, c2 = 0.01**2, 0.03**2
            found.append(
                (2 * mean_a * mean_b + c1)
                * (2 * both + c2)
                / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    return statistics.fmean(found)


def expected(kind: str, a: Tensor, b: Tensor) -> float:
    if kind == "ssim":
        return ssim(a, b)
    x, y = a.flatten().tolist(), b.flatten().tolist()
    return statistics.correlation(*((ranks(x), ranks(y)) if kind == "spearman" else (x, y)))


@pytest.mark.parametrize("kind", ["spearman", "pearson", "ssim"])
def test_similarities_are_those_of_plain_loops(kind: str) -> None:
    # Equal values, too, whose ranks are shared.
    tied = (2 * A).round() / 2
    for first, second in ((A, B), (tied, B)):
        right = [expected(kind, a, b) for a, b in zip(first, second, strict=True)]
        found = map_similarity(first, second, kind=kind)
        assert_same(found, torch.tensor(right, dtype=torch.float64), 1e-10)


def test_structural_similarity_is_that_of_scikit_image() -> None:
    a, b = noise(20, 24), noise(20, 24, seed=5)
    a, b = ((one - one.min()) / (one.max() - one.min()) for one in (a, b))
    right = of_scikit_image(
        a.numpy(), b.numpy(), gaussian_weights=True, use_sample_covariance=False, data_range=1.0
    )
    found = map_similarity(a[None], b[None], kind="ssim")
    # Its windows have the same 11 pixels, its mean the same places, its sums another order.
    assert found.item() == pytest.approx(float(right), abs=1e-10)


@pytest.mark.parametrize("kind", ["spearman", "pearson", "ssim"])
def test_equal_maps_are_1_and_negatives_are_alike_by_magnitude(kind: str) -> None:
    ones = torch.ones(3, dtype=torch.float64)
    assert_same(map_similarity(A, A, kind=kind), ones, 1e-12)
    assert (map_similarity(A, -A, kind=kind) < 0.5).all()
    assert_same(map_similarity(A, -A, kind=kind, absolute=True), ones, 1e-12)


def test_channels_are_summed_with_their_signs_or_by_magnitude() -> None:
    channels = noise(2, 3, 5, 6)
    plain, sizes = channels.sum(1), channels.abs().sum(1)
    other = noise(2, 5, 6, seed=9)
    assert_same(map_similarity(channels, other), map_similarity(plain, other))
    found = map_similarity(channels, other, absolute=True)
    assert_same(found, map_similarity(sizes, other.abs()))


@pytest.mark.parametrize("kind", ["spearman", "pearson", "ssim"])
@pytest.mark.parametrize("broken", [0.25, float("nan"), float("inf")])
def test_what_cannot_be_compared_is_nan_with_one_warning(kind: str, broken: float) -> None:
    spoilt = A.clone()
    spoilt[1] = broken
    for pair in ((spoilt, B), (B, spoilt)):
        with pytest.warns(UndefinedMetricWarning, match="constant, NaN or infinite") as caught:
            found = map_similarity(*pair, kind=kind)
        assert len(caught) == 1
        assert found.isnan().tolist() == [False, True, False]
        right = [expected(kind, A[0], B[0]), expected(kind, A[2], B[2])]
        assert_same(found[[0, 2]], torch.tensor(right, dtype=torch.float64), 1e-10)


def test_arguments_stay_as_they_are() -> None:
    a, b = A.clone(), B.clone()
    map_similarity(a, b, absolute=True)
    assert torch.equal(a, A)
    assert torch.equal(b, B)


def test_wrong_arguments_are_refused() -> None:
    with refused(InputError, "similarity", "'hog'", "'ssim'"):
        map_similarity(A, B, kind="hog")  # type: ignore[arg-type]
    with refused(ShapeError, "(3, 9, 13)", "(3, 4, 4)", "interpolate"):
        map_similarity(A, noise(3, 4, 4))
    with refused(ShapeError, "others must be maps", "(3, 9)"):
        map_similarity(A, noise(3, 9))
