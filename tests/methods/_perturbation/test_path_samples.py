"""Samples of paths: what is drawn for each, and how it is shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from helpers import assert_same, noise
from sampled_path import normals, numbers

from torchattr.core.inputs import as_inputs
from torchattr.methods._gradient.baselines import BaselineRows
from torchattr.methods._perturbation.path_samples import PathSamples

X, Y = noise(3, 2, 4), noise(3, 5, seed=3)
POOLS = (noise(6, 2, 4, seed=4), noise(6, 5, seed=5))
EXACT = 1e-12


def samples(seeds: Sequence[int], stdevs: Any = (0.0, 0.0), **to: Any) -> PathSamples:
    inputs = as_inputs((X.to(**to), Y.to(**to)))
    return PathSamples(inputs, BaselineRows(POOLS, inputs), stdevs, seeds)


@pytest.mark.parametrize("seeds", [[4], [4, 9, 2]])
def test_paths_are_those_drawn_by_hand(seeds: list[int]) -> None:
    paths = samples(seeds, (0.3, 0.0)).drawn(2, 6)
    for sample in range(4):
        for k in range(3):
            seed = seeds[k % len(seeds)]
            alpha, row, _ = numbers(seed, 0, 2 + sample, 3)
            added = torch.tensor(normals(seed, 1, 2 + sample, 8), dtype=X.dtype).reshape(2, 4)
            ends = (X[k] + 0.3 * added, Y[k])
            for position, end in enumerate(ends):
                start = POOLS[position][int(6 * row)]
                assert_same(paths.ends[position][sample, k], end, EXACT)
                assert_same(paths.starts[position][sample, k], start, EXACT)
                assert_same(paths.differences[position][sample, k], end - start, EXACT)
                point = (1 - alpha) * start + alpha * end
                assert_same(paths.points[position][sample, k], point, EXACT)


def test_a_range_of_samples_is_part_of_all() -> None:
    drawn = samples([4, 9, 2], (0.3, 0.1))
    every, some = drawn.drawn(0, 9), drawn.drawn(3, 5)
    for one, other in zip(some.points, every.points, strict=True):
        assert torch.equal(one, other[3:5])


def test_only_noise_moves_the_ends() -> None:
    assert not samples([1]).noisy
    assert samples([1], (0.0, 0.1)).noisy
    paths = samples([1], (0.0, 0.1)).drawn(0, 4)
    assert torch.equal(paths.ends[0], X.expand(4, *X.shape))
    assert not torch.equal(paths.ends[1], Y.expand(4, *Y.shape))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
def test_paths_of_every_type_are_the_same_up_to_rounding(kind: torch.dtype) -> None:
    exact, found = (samples([5], (0.2, 0.2), dtype=to).drawn(0, 8) for to in (X.dtype, kind))
    for one, other in zip(found.points, exact.points, strict=True):
        assert one.dtype == torch.float32
        assert_same(one.double(), other, 2 * torch.finfo(kind).eps)


def test_one_seed_is_shared_and_seeds_of_their_own_are_not() -> None:
    shared, own = samples([5]).drawn(0, 1), samples([5, 6, 7]).drawn(0, 1)
    assert shared.alphas[0].shape[:2] == (1, 1)
    assert len(own.alphas[0].unique()) == 3
    assert torch.equal(own.points[0][:, 0], shared.points[0][:, 0])
