"""The prepared model itself: its construction and its repr."""

from __future__ import annotations

import pytest
from foldable import Net, network
from helpers import assert_same, noise

import torchattr as ta
from torchattr.errors import ModelError
from torchattr.preparation import Prepared

X = noise(2, 3, 14, 14)


def test_its_repr_is_one_line() -> None:
    fast = ta.prepare(network(Net), X, channels_last=False)
    assert repr(fast) == "Prepared(Net: batch-norms folded: 2 of 2, contiguous, float32)"
    other = ta.prepare(network(Net), X, channels_last=True, fold=False)
    assert repr(other) == "Prepared(Net: batch-norms folded: 0 of 2, channels-last, float32)"


def test_it_stays_in_eval_mode() -> None:
    fast = ta.prepare(network(Net), X)
    assert fast.train(False) is fast
    with pytest.raises(ModelError, match="cannot be trained"):
        fast.train()


def test_rules_for_what_is_folded_run_the_original_operations() -> None:
    model = network(Net)
    fast = ta.prepare(model, X)
    assert isinstance(fast, Prepared)
    rules = {"batch_norm": "gradient"}
    expected = ta.Saliency(model, rules=rules).attribute(X, target=0)
    assert_same(ta.Saliency(fast, rules=rules).attribute(X, target=0), expected, 1e-10)
