"""What the methods that score coalitions share: dtypes, precision, and rows for callers."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from helpers import assert_same, noise
from peers import classifier, rows

import torchattr as ta
from torchattr.core.squares import squares
from torchattr.errors import TorchattrWarning
from torchattr.methods import registered_methods

METHODS: dict[str, tuple[type, dict[str, Any]]] = {
    "sampling": (ta.ShapleyValueSampling, {"n_samples": 3}),
    "exact": (ta.ShapleyValues, {}),
    "kernel": (ta.KernelShap, {"n_samples": 30}),
    "lime": (ta.Lime, {"n_samples": 30}),
}


@pytest.mark.parametrize("name", METHODS)
def test_results_have_the_dtype_of_the_scores(name: str) -> None:
    kind, options = METHODS[name]
    x = rows()
    found = kind(classifier()).attribute(x, target=1, **options)
    assert found.dtype == torch.float64
    single = kind(classifier().float()).attribute(x.float(), target=1, **options)
    assert single.dtype == torch.float32
    assert_same(single.double(), found, 1e-3)
    half = kind(lambda x: classifier().float()(x).bfloat16())
    assert half.attribute(x.float(), target=1, **options).dtype == torch.bfloat16
    counted = kind(lambda x: (x > 0).sum(1))
    assert counted.attribute(x, **options).dtype == torch.float32


@pytest.mark.parametrize("name", METHODS)
def test_the_model_and_the_inputs_stay_as_they_are(name: str) -> None:
    kind, options = METHODS[name]

    def writes(x: torch.Tensor) -> torch.Tensor:
        return x.mul_(2).sum(1)

    x = rows().requires_grad_()
    before = x.detach().clone()
    found = kind(writes).attribute(x, **options)
    assert torch.equal(x, before)
    assert not found.requires_grad
    expected = kind(lambda x: (2 * x).sum(1)).attribute(before, **options)
    assert_same(found, expected, 1e-10)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_by_name_in_explain(name: str) -> None:
    kind, options = METHODS[name]
    registered = next(n for n, one in registered_methods().items() if one is kind)
    x = noise(2, 4, dtype=torch.float32)
    model = torch.nn.Linear(4, 3)
    explained = ta.explain(model, x, {registered: options}, ta.Classes(0, 2))
    found = explained[registered]
    assert found.shape == (2, 2, 4)
    assert_same(found[:, 1], kind(model).attribute(x, target=2, **options))


@pytest.mark.parametrize("name", ["sampling", "kernel", "lime"])
def test_pixels_as_features_are_warned_of(name: str) -> None:
    kind, _ = METHODS[name]
    x = noise(1, 1, 71, 71, dtype=torch.float32)
    method = kind(lambda x: x.sum((1, 2, 3)))
    with pytest.warns(TorchattrWarning, match=r"5041 elements .* feature_mask=\.\.\., or squares"):
        method._game(x, None, None, 3, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method._game(x, None, squares(x, 7), 3, 0)
        method._game(x[..., :70], None, None, 3, 0)
