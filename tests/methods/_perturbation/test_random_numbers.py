"""Random numbers: those drawn by hand, each determined by its seed, stream and sample alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled_path import normals, numbers

from torchattr.methods._perturbation.random_numbers import SeededStreams, key_of, normal, uniform

SEEDS = st.integers(0, 2**64 - 1)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(0, 5), st.integers(0, 30), st.integers(1, 13))
def test_numbers_are_those_drawn_by_hand(seed: int, stream: int, start: int, width: int) -> None:
    key, samples = key_of(seed, stream), range(start, start + 3)
    drawn = uniform(key, start, start + 3, width)
    assert drawn.tolist() == [numbers(seed, stream, k, width) for k in samples]
    np.testing.assert_allclose(
        normal(key, start, start + 3, width),
        [normals(seed, stream, k, width) for k in samples],
        rtol=1e-12,
        atol=1e-14,
    )


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_streams_of_several_seeds_are_those_of_each(draw: str) -> None:
    both = getattr(SeededStreams([3, 8]), draw)(1, 2, 6, 5)
    assert both.shape == (4, 2, 5)
    for position, seed in enumerate((3, 8)):
        alone = getattr(SeededStreams([seed]), draw)(1, 2, 6, 5)
        assert np.array_equal(both[:, position], alone[:, 0])
    assert getattr(SeededStreams([]), draw)(1, 2, 6, 5).shape == (4, 0, 5)


def test_seeds_streams_and_samples_differ() -> None:
    streams = [SeededStreams([seed]).uniform(k, 0, 50, 4) for seed in (0, 1) for k in (0, 1)]
    assert len(np.unique(streams)) == 4 * 50 * 4


def test_the_distributions() -> None:
    """Mean, variance and kurtosis within five standard errors, and no tie between neighbours."""
    count = 200_000
    even, bell = uniform(7, 0, count, 2), normal(8, 0, count, 2)
    assert 0 <= even.min() <= even.max() < 1
    for moment, expected, spread in (
        (even.mean(0), 1 / 2, (1 / 12) ** 0.5),
        ((even**2).mean(0), 1 / 3, (4 / 45) ** 0.5),
        (bell.mean(0), 0, 1),
        ((bell**2).mean(0), 1, 2**0.5),
        ((bell**4).mean(0), 3, 96**0.5),
        (np.prod(even - 0.5, 1).mean(), 0, 1 / 12),
        (np.prod(bell, 1).mean(), 0, 1),
        (np.prod(bell**2 - 1, 1).mean(), 0, 2),
    ):
        assert np.abs(moment - expected).max() < 5 * spread / count**0.5
