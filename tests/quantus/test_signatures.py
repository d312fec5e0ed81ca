"""The options of each metric and their defaults are those of Quantus 0.6.0."""

from __future__ import annotations

import inspect

import pytest
from asked import METRICS
from helpers import refused
from signatures_of_quantus import COMMON, OPTIONS, SOFTMAX

from torchattr.errors import InputError
from torchattr.quantus.signatures import bound, options, signature


def test_all_of_its_metrics_are_here() -> None:
    assert set(METRICS) == set(OPTIONS)
    assert len(OPTIONS) == 37


@pytest.mark.parametrize("name", METRICS)
def test_the_options_are_the_same(name: str) -> None:
    taken = inspect.signature(METRICS[name]).parameters
    assert {key: one.default for key, one in taken.items()} == {**COMMON, **OPTIONS[name]}
    own = [key for key in OPTIONS[name] if key not in COMMON]
    assert [key for key in taken if key not in COMMON] == own
    assert bool(METRICS[name].softmax) == bool(SOFTMAX[name])


def test_options_are_given_by_name_or_in_order() -> None:
    defaults = options({"k": 3, "weighted": False}, abs=True, normalise=False)
    assert bound("One", defaults, (5,), {"abs": False}) == {**defaults, "k": 5, "abs": False}
    assert list(signature(defaults).parameters)[:4] == ["k", "weighted", "abs", "normalise"]
    with refused(InputError, "One has no option 'weigthed'", "weighted"):
        bound("One", defaults, (), {"weigthed": True})
    with pytest.raises(TypeError, match="multiple values"):
        bound("One", defaults, (5,), {"k": 5})
