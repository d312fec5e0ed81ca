"""Both kinds of monotonicity, against loops written from the papers."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

import pytest
import torch
from helpers import refused, seeded
from measured import SmallNet, ranks
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, UndefinedMetricWarning
from torchattr.evaluate import blocks, monotonicity, monotonicity_correlation
from torchattr.methods import SeededStreams

MODEL = seeded(SmallNet).double()
GENERATOR = torch.Generator().manual_seed(3)
X = torch.rand(2, 2, 6, 8, generator=GENERATOR, dtype=torch.float64)
MAPS = torch.randn(2, 2, 6, 8, generator=GENERATOR, dtype=torch.float64)
CELLS = blocks(X, 2)


def score(x: Tensor, target: int) -> float:
    return MODEL(x[None])[0, target].item()


@pytest.mark.parametrize("mask", [CELLS, torch.cat([CELLS, CELLS % 5])])
def test_the_share_of_steps_that_rise_equals_a_literal_loop(mask: Tensor) -> None:
    """Steps of an example with fewer features that change nothing do not count."""
    found = monotonicity(MODEL, X, MAPS, [1, 2], feature_mask=mask)
    for n, target in enumerate([1, 2]):
        own = mask[n % len(mask), 0]
        numbers = own.unique().tolist()
        picture, scores = torch.zeros_like(X[n]), [score(torch.zeros_like(X[n]), target)]
        worth = {k: MAPS[n][:, own == k].mean().item() for k in numbers}
        for k in sorted(numbers, key=worth.__getitem__):
            picture[:, own == k] = X[n][:, own == k]
            scores.append(score(picture, target))
        rises = [after >= before for before, after in itertools.pairwise(scores)]
        assert found[n].item() == pytest.approx(sum(rises) / len(numbers), abs=1e-10)


def test_steps_that_rise_or_stay_count() -> None:
    weights = torch.tensor([[3.0, -1.0, 2.0, -4.0]]).double()
    x = torch.ones(1, 4, dtype=torch.float64)

    def model(rows: Tensor) -> Tensor:
        return rows @ weights.T

    assert monotonicity(model, x, weights).item() == 0.5
    with pytest.warns(UndefinedMetricWarning, match="monotonicity is undefined where all feat"):
        assert bool(monotonicity(model, x, torch.ones(1, 4)).isnan().all())
    assert monotonicity(model, x * weights.sign(), weights.abs()).item() == 1.0
    assert monotonicity(model, x, torch.tensor([[1.0, 3.0, 2.0, 4.0]]), steps=2).item() == 0.5


def drawn(n: int, sample: int, seed: int) -> Tensor:
    """Return noise within the range of each channel of one picture."""
    share = torch.from_numpy(SeededStreams([seed]).uniform(0, sample, sample + 1, 96))
    channels = [
        channel.min() + (channel.max() - channel.min()) * own
        for channel, own in zip(X[n], share.reshape(2, 6, 8), strict=True)
    ]
    return torch.stack(channels)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_correlation_equals_a_literal_loop(seed: int) -> None:
    options: dict[str, Any] = {"feature_mask": CELLS, "n_samples": 3, "seed": seed}
    found = monotonicity_correlation(MODEL, X, MAPS, [1, 2], **options)
    for n, target in enumerate([1, 2]):
        matters = []
        for k in range(12):
            own, losses = CELLS[0, 0] == k, []
            for sample in range(3):
                changed = X[n].clone()
                changed[:, own] = drawn(n, sample, seed)[:, own]
                losses.append((score(X[n], target) - score(changed, target)) ** 2)
            matters.append(statistics.mean(losses))
        worth = [abs(MAPS[n][:, CELLS[0, 0] == k].sum().item()) for k in range(12)]
        expected = statistics.correlation(ranks(worth), ranks(matters))
        assert found[n].item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("metric", [monotonicity, monotonicity_correlation])
def test_several_targets_and_single_examples(metric: Any) -> None:
    maps = torch.stack([MAPS, MAPS.flip(-1)], 1)
    before = X.clone(), maps.clone()
    together = metric(MODEL, X, maps, ta.Classes(2, 0), feature_mask=CELLS)
    for position, target in enumerate([2, 0]):
        for n in range(2):
            one = metric(MODEL, X[n : n + 1], maps[n : n + 1, position], target, feature_mask=CELLS)
            assert together[n, position].item() == pytest.approx(one.item(), abs=1e-10)
    assert torch.equal(X, before[0])
    assert torch.equal(maps, before[1])


def test_a_constant_map_has_no_ranks() -> None:
    even = MAPS.clone()
    even[0] = 1.0
    with pytest.warns(UndefinedMetricWarning, match="monotonicity_correlation .* 1 of 2") as caught:
        found = monotonicity_correlation(MODEL, X, even, 1, feature_mask=CELLS)
    assert len(caught) == 1
    assert found.isnan().tolist() == [True, False]


def test_a_map_whose_features_are_worth_the_same_has_no_order() -> None:
    even = MAPS.clone()
    # The elements differ, the cells that are restored do not.
    even[0] = torch.tensor([1.0, -1.0]).repeat(4)
    with pytest.warns(UndefinedMetricWarning, match="monotonicity is undefined .* 1 of 2"):
        found = monotonicity(MODEL, X, even, 1, feature_mask=CELLS)
    assert found.isnan().tolist() == [True, False]


def test_arguments_out_of_range() -> None:
    with refused(InputError, "n_samples must be at least 1"):
        monotonicity_correlation(MODEL, X, MAPS, 1, n_samples=0)
    with refused(InputTypeError, "'uniform' replacements need floating", "int64"):
        monotonicity_correlation(lambda x: x[:, :1, 0, 0], X.long(), MAPS, 0)
    with pytest.raises(TypeError, match="baselines"):
        monotonicity_correlation(MODEL, X, MAPS, 1, baselines=0)  # type: ignore[call-arg]
