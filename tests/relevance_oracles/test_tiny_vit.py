"""The tiny transformer: its spellings compute the same from the same parameters."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise

from relevance_oracles.tiny_vit import SPELLINGS, Spelling, spelled, tiny_vit

X = noise(2, 3, 8, 8)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_agree(spelling: Spelling) -> None:
    model = tiny_vit()
    assert_same(spelled(model, spelling)(X), model(X), 1e-13)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_share_their_parameters(spelling: Spelling) -> None:
    model = tiny_vit()
    other = dict(spelled(model, spelling).named_parameters())
    assert all(other[name] is one for name, one in model.named_parameters())


def test_nothing_is_added_where_there_are_no_constants() -> None:
    scores = tiny_vit(constants=False)(torch.zeros_like(X))
    assert not bool(scores.any())


def test_no_parameter_is_constant_where_there_are_constants() -> None:
    assert all(bool(one.std() > 0) for one in tiny_vit().parameters())
