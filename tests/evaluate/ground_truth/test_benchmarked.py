"""Ranks and agreement, against loops."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from torchattr.evaluate.ground_truth.benchmarked import Benchmark
from torchattr.evaluate.ground_truth.metrics import METRICS

CHOSEN = ("mass", "auc", "deletion", "sets", "entropy")


def made(values: torch.Tensor, metrics: tuple[str, ...] = CHOSEN) -> Benchmark:
    names = [*(f"method {k}" for k in range(values.shape[1] - 1)), "(random)"]
    return Benchmark("collage", names, [METRICS[name] for name in metrics], values, {}, {}, 1)


@pytest.fixture(scope="module")
def values() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    levels = torch.randn(1, 6, len(CHOSEN), generator=generator, dtype=torch.float64)
    noise = torch.randn(20, 6, len(CHOSEN), generator=generator, dtype=torch.float64)
    return levels + noise


def mean_ranks(means: np.ndarray) -> list[float]:
    """Rank in each metric, the best first; mean of each group, and of both; entropy is none."""
    signs = [1, 1, -1, 1]
    ranks = [
        [1 + sum(sign * other > sign * own for other in column) for own in column]
        for sign, column in zip(signs, means.T[:4], strict=True)
    ]
    localisation, faithfulness = np.mean(ranks[:2], 0), np.mean(ranks[2:], 0)
    return list((localisation + faithfulness) / 2)


def test_mean_ranks_and_their_interval(values) -> None:
    found = made(values).ranks
    means = values.mean(0).numpy()
    np.testing.assert_allclose(found.value, mean_ranks(means))
    rng = np.random.default_rng(0)
    drawn = [mean_ranks(values[rng.integers(0, 20, 20)].mean(0).numpy()) for _ in range(2000)]
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    # Other draws of the same distribution.
    np.testing.assert_allclose(found.low, low, atol=0.26)
    np.testing.assert_allclose(found.high, high, atol=0.26)


def test_the_ranking_begins_with_the_best(values) -> None:
    benchmark = made(values)
    order = np.argsort(mean_ranks(values.mean(0).numpy()), kind="stable")
    assert benchmark.ranking == [benchmark.methods[k] for k in order]
    assert [row[0] for row in benchmark.table().rows] == benchmark.ranking


def test_agreement_is_the_rank_correlation_of_methods_without_controls(values) -> None:
    means = values.mean(0).numpy()[:5] * [1, 1, -1, 1, -1]
    ranks = means.argsort(0).argsort(0)
    np.testing.assert_allclose(made(values).agreement, np.corrcoef(ranks.T), atol=1e-12)


def test_a_method_without_a_value_is_last_and_left_out_of_the_agreement(values) -> None:
    missing = values.clone()
    missing[:, 2, 0] = torch.nan
    benchmark = made(missing)
    column = torch.where(torch.arange(6) == 2, -torch.inf, values.mean(0)[:, 0])
    means = values.mean(0).clone()
    means[:, 0] = column
    np.testing.assert_allclose(benchmark.ranks.value, mean_ranks(means.numpy()))
    kept = torch.tensor([0, 1, 3, 4, 5])
    torch.testing.assert_close(benchmark.agreement, made(values[:, kept]).agreement)
    assert "–" in {row[2] for row in benchmark.table().rows}


def test_too_few_methods_agree_on_nothing(values) -> None:
    assert made(values[:, -3:]).agreement.isnan().all()


def test_complexity_alone_is_not_ranked(values) -> None:
    benchmark = made(values[..., :1], ("gini",))
    assert benchmark.ranks.value.isnan().all()
    assert {row[1] for row in benchmark.table().rows} == {"–"}
    assert benchmark.as_dict()["ranks"]["value"] == [None] * 6


def test_the_mean_rank_has_a_heading_unlike_that_of_any_metric(values) -> None:
    head = made(values[..., :3], ("relevance rank", "mass", "deletion")).table().head
    assert head == ["method", "mean rank", "relevance rank ↑", "mass ↑", "deletion ↓"]
    assert "rank" not in METRICS


def test_correlations_say_how_many_methods_they_rest_on(values) -> None:
    few = made(values[:, :4])  # three methods and a control
    said = "Rank correlations rest on 3 methods: over so many, metrics .* up to ±1.00 in 95%"
    assert re.search(said, str(few))
    assert "Rank correlation of the metrics over 3 methods" in few.tables()
    assert few.as_dict()["agreement_methods"] == 3
    assert few.plot_agreement().get_xlabel() == "rank correlation over 3 methods"
    assert re.search(said, few.entries()[1].text)
    missing = values.clone()
    missing[:, 0, 0] = torch.nan
    assert "rest on 4 methods" in str(made(missing))
    alone = made(values[:, -3:])
    assert "Rank correlations" not in str(alone)
    assert "need 3 methods or more, and there are 2." in alone.entries()[1].text
