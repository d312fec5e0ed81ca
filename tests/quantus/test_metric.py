"""What all metrics share: the forms of a call, and what is refused."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from asked import ASKED, MASKS, METRICS, SMALL, X, Y, maps, model, small
from helpers import assert_same, refused
from torch import Tensor, nn

import torchattr as ta
from torchattr import evaluate, quantus
from torchattr.errors import InputError, InputTypeError, ShapeError, UndefinedMetricWarning
from torchattr.quantus.metric import baseline

UNDEFINED = ("Consistency", "Sufficiency")
"""Metrics that compare examples: of so few, none are alike."""


def called(name: str, *args: Any, **options: Any) -> Any:
    given = {**ASKED, **options}
    if name in UNDEFINED:
        with pytest.warns(UndefinedMetricWarning):
            return small(name)(*args, **given)
    return small(name)(*args, **given)


def flat(scores: Any) -> Tensor:
    listed = list(scores.values()) if isinstance(scores, dict) else scores
    return torch.as_tensor(np.asarray(listed, dtype=float))


@pytest.mark.parametrize("name", METRICS)
def test_each_is_called_with_arrays_and_with_tensors(name: str) -> None:
    net, x, masks = model(), X.copy(), MASKS.copy()
    found = called(name, net, x, Y)
    tensors = (torch.from_numpy(x), torch.from_numpy(Y))
    again = called(name, net, *tensors, s_batch=torch.from_numpy(masks))
    assert torch.allclose(flat(found), flat(again), rtol=1e-9, atol=1e-12, equal_nan=True)
    assert isinstance(found, (list, dict))
    # Nothing of a call remains, and nothing that was given is changed.
    assert np.array_equal(x, X)
    assert np.array_equal(masks, MASKS)
    assert not net.training


@pytest.mark.parametrize("name", METRICS)
def test_the_batch_size_changes_nothing(name: str) -> None:
    net = model()
    whole, parts = called(name, net, X, Y), called(name, net, X, Y, batch_size=3)
    assert torch.allclose(flat(whole), flat(parts), rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", METRICS)
def test_what_is_not_offered_is_refused_by_name(name: str) -> None:
    metric = METRICS[name]
    assert metric.__doc__
    for option in {**metric.refused, "default_plot_func": ""}:
        assert option in metric.defaults
        with refused(InputError, name, option):
            metric(**{option: object()})


def test_maps_that_are_given_are_measured() -> None:
    net = model()
    given = maps(net, torch.from_numpy(X), torch.from_numpy(Y))
    before = given.clone()
    for array in (given, given.numpy(), given[:, 0].numpy()):
        found = quantus.Sparseness()(None, X, Y, array)
        assert_same(
            torch.tensor(found, dtype=torch.float64), evaluate.gini_index(given.abs()), 1e-9
        )
    assert torch.equal(given, before)


def test_functions_get_what_was_passed() -> None:
    seen = []

    def explained(model: nn.Module, inputs: Any, targets: Any, scale: float = 1.0) -> Any:
        seen.append((type(inputs), type(targets)))
        return inputs * scale

    options = {"explain_func": explained, "explain_func_kwargs": {"scale": 2.0}}
    quantus.Sparseness()(model(), X, Y, **options)
    quantus.Sparseness()(model(), torch.from_numpy(X), torch.from_numpy(Y), **options)
    assert seen == [(np.ndarray, np.ndarray), (Tensor, Tensor)]


def test_maps_are_normalised_by_their_own_largest_element() -> None:
    x = np.stack([X[0], 1000 * X[0]])
    given = np.stack([X[0, :1], 1000 * X[0, :1]])
    counts = quantus.EffectiveComplexity(eps=0.5)(None, x, Y[:2], given)
    assert counts == [int((X[0, 0] / X[0, 0].max() > 0.5).sum())] * 2
    raw = quantus.EffectiveComplexity(eps=0.5, normalise=False)(None, x, Y[:2], given)
    assert raw == [int((X[0, 0] > 0.5).sum()), int((1000 * X[0, 0] > 0.5).sum())]
    half = quantus.EffectiveComplexity(
        eps=0.5, normalise_func=lambda a, by: a / by, normalise_func_kwargs={"by": 2.0}
    )
    assert half(None, x, Y[:2], given)[0] == int((X[0, 0] / 2 > 0.5).sum())


def test_scores_are_aggregated_if_asked() -> None:
    whole = quantus.Sparseness()(None, X, Y, X)
    (mean,) = quantus.Sparseness(return_aggregate=True)(None, X, Y, X)
    assert mean == pytest.approx(np.mean(whole), rel=1e-12)
    (largest,) = quantus.Sparseness(return_aggregate=True, aggregate_func=max)(None, X, Y, X)
    assert largest == max(whole)


def test_channels_may_come_last() -> None:
    net = model()
    found = small("AvgSensitivity")(net, np.moveaxis(X, 1, -1), Y, channel_first=False, **ASKED)
    assert found == small("AvgSensitivity")(net, X, Y, **ASKED)


def test_warnings_are_silenced_if_asked() -> None:
    found = quantus.Sparseness(disable_warnings=True)(None, X, Y, np.zeros_like(X))
    assert np.isnan(found).all()
    with pytest.warns(UndefinedMetricWarning):
        quantus.Sparseness()(None, X, Y, np.zeros_like(X))


def test_baselines_by_name() -> None:
    x = torch.from_numpy(X)
    for name, function in (("black", np.min), ("white", np.max), ("mean", np.mean)):
        made = baseline(name, x)
        assert made.shape == (4, 1, 1, 1)
        assert made.flatten().tolist() == pytest.approx([function(one) for one in X], rel=1e-12)
    assert baseline(3, x) == 3.0
    with refused(InputError, "perturb_baseline", "'black'", "'green'"):
        baseline("green", x)


def test_metrics_are_values() -> None:
    metric = quantus.TopKIntersection(k=7)
    assert pickle.loads(pickle.dumps(metric)).options == metric.options


def test_wrong_arguments_are_refused() -> None:
    net = model()
    with refused(InputTypeError, "explain_func is missing", "torchattr.quantus.explain"):
        quantus.Sparseness()(net, X, Y)
    with refused(InputTypeError, "explain_func", "int"):
        quantus.Sparseness()(net, X, Y, explain_func=3)
    with refused(InputTypeError, "s_batch is missing"):
        quantus.AUC()(net, X, Y, X)
    with refused(InputTypeError, "custom_batch is missing"):
        quantus.Focus()(net, X, Y, X)
    with refused(InputError, "model_predict_kwargs", "function"):
        quantus.Sparseness()(net, X, Y, X, model_predict_kwargs={"a": 1})
    with refused(ShapeError, "3 classes", "4 examples"):
        quantus.Sparseness()(net, X, Y[:3], X)
    with refused(InputTypeError, "x_batch", "str"):
        quantus.Sparseness()(net, "pictures", Y, X)
    assert set(SMALL) <= {option for one in METRICS.values() for option in one.defaults}


@pytest.mark.parametrize("way", [ta.InputXGradient, "input_x_gradient", ta.InputXGradient(model())])
def test_methods_of_torchattr_explain(way: Any) -> None:
    net = model() if not isinstance(way, ta.Attribution) else way.model
    given = ta.InputXGradient(net).attribute(torch.from_numpy(X), torch.from_numpy(Y))
    expected = quantus.Sparseness()(net, X, Y, given)
    assert quantus.Sparseness()(net, X, Y, explain_func=way) == pytest.approx(expected, rel=1e-9)
