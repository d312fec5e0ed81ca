"""The scores of a batch beside those of its examples by themselves."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from helpers import noise, refused
from torch import Tensor

import torchattr as ta
from torchattr.core.inputs import as_inputs
from torchattr.errors import TargetError, TorchattrWarning
from torchattr.methods._relevance.batch_scores import BatchScores

WEIGHT = noise(4, 3)
X = noise(5, 4, seed=1)


def linear(x: Tensor) -> Tensor:
    return x @ WEIGHT


def scores_of(target: Any, model: Any = linear) -> BatchScores:
    return BatchScores.of(model, as_inputs(X), target, (), None)


def test_choices_are_made_by_the_batch() -> None:
    assert scores_of(None).target.tolist() == linear(X).argmax(1).tolist()
    several = scores_of(ta.TopK(2))
    assert torch.equal(torch.stack(several.target.indices, 1), linear(X).topk(2).indices)
    assert torch.equal(torch.stack(list(several.scores), 1), linear(X).topk(2).values)
    assert not any(values.requires_grad for values in several.scores)


def test_one_score_for_all() -> None:
    assert scores_of(1, lambda x: linear(x).mean(0, keepdim=True)).aggregates
    assert not scores_of(1).aggregates
    with refused(TargetError, "2 rows of scores", "5 examples"):
        scores_of(1, lambda x: linear(x)[:2])
    with refused(TargetError, "2 entries for a batch of 5"):
        scores_of([1, 2])


def test_what_differs_from_the_batch_is_warned_of() -> None:
    batch = scores_of(1)
    own = linear(X)[:, 1:2].unbind(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch.compare([[score * (1 + 1e-3)] for score in own])
    other = [[score + (0.5 if number > 2 else 0)] for number, score in enumerate(own)]
    with pytest.warns(TorchattrWarning, match=r"score of 2 of 5 examples.*example 3 has"):
        batch.compare(other)


def test_rounding_is_judged_by_the_largest_of_the_output() -> None:
    batch = BatchScores(1, [torch.zeros(2)], 5.0, 2)
    batch.compare([[torch.full((1,), 0.01)]] * 2)
    with pytest.warns(TorchattrWarning, match="score of 2 of 2 examples"):
        batch.compare([[torch.full((1,), 0.2)]] * 2)
    assert scores_of(lambda output: output[:, 0] * 0).largest == linear(X).abs().max().item()


def test_the_target_that_differs_is_the_one_that_is_told() -> None:
    batch = scores_of(ta.Classes([0, 2]))
    own = [[one[:1], one[2:] + 3.0] for one in linear(X)]
    told = f"{float(own[0][1]):.4g}, not {float(linear(X)[0, 2]):.4g}"
    with pytest.warns(TorchattrWarning, match=f"example 0 has {told}"):
        batch.compare(own)
