"""The efficient randomisation test, against histograms by counting."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from helpers import assert_same, refused
from sanity import PICTURES, EdgeMethod, LevelMethod, plain
from test_randomisation import GRADIENT, signed
from torch import Tensor

from torchattr.errors import InputError, UndefinedMetricWarning
from torchattr.evaluate import efficient_mprt
from torchattr.evaluate.randomised_model import RandomisedModel


def entropy(values: list[float], bins: int) -> float:
    low, high = min(values), max(values)
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / (high - low) * bins), bins - 1)] += 1
    shares = [count / len(values) for count in counts if count]
    return -sum(share * math.log(share) for share in shares)


def entropies(maps: Tensor, bins: int) -> list[float]:
    return [entropy(one.flatten().tolist(), bins) for one in maps]


@pytest.mark.parametrize("bins", [10, 100])
def test_it_is_the_relative_rise_of_the_entropy(bins: int) -> None:
    model = plain()
    classes = model(PICTURES).argmax(1)
    random = RandomisedModel(deepcopy(model), PICTURES)
    random.randomise(random.layers)
    before = entropies(signed(model, PICTURES, classes), bins)
    after = entropies(signed(random.model, PICTURES, classes), bins)
    right = [(b - a) / a for a, b in zip(before, after, strict=True)]
    found = efficient_mprt(model, PICTURES, GRADIENT, bins=bins)
    assert_same(found["saliency"], torch.tensor(right, dtype=torch.float64), 1e-10)


def test_a_map_of_the_picture_gets_no_more_complex() -> None:
    assert efficient_mprt(plain(), PICTURES, EdgeMethod)["EdgeMethod"].tolist() == [0.0] * 4


def test_constant_maps_are_nan_with_one_warning() -> None:
    with pytest.warns(UndefinedMetricWarning, match="complexity of LevelMethod") as caught:
        found = efficient_mprt(plain(), PICTURES, [LevelMethod, "saliency"])
    assert len(caught) == 1
    assert found["LevelMethod"].isnan().all()
    assert found["saliency"].isfinite().all()


def test_one_bin_is_refused() -> None:
    with refused(InputError, "bins", "1"):
        efficient_mprt(plain(), PICTURES, "saliency", bins=1)
