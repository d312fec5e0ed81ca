"""LIME against a weighted linear model fitted by hand, and its functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from peers import classifier, picture_net, pictures, rows
from sklearn.linear_model import Lasso, Ridge
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, InputTypeError
from torchattr.methods._perturbation.coalition_draws import SeededDraws

EXACT = 1e-10
MASK = torch.tensor([[0, 0, 1, 1, 2, 2]])


def explained(x: Tensor, model: Any = None, **options: Any) -> Tensor:
    method = ta.Lime(classifier(), model or Ridge(0.1))
    found: Tensor = method.attribute(x, **{"target": 1, "n_samples": 40, **options})
    return found


@pytest.mark.parametrize("estimator", [Ridge(0.1), Lasso(0.01), None])
@pytest.mark.parametrize("baseline", [0, 0.3])
def test_it_is_the_weighted_fit_by_hand(estimator: Any, baseline: float) -> None:
    model, x = classifier(), rows()
    found = ta.Lime(model, estimator).attribute(
        x, baseline, 1, feature_mask=MASK, n_samples=40, return_input_shape=False
    )
    kept = SeededDraws([0]).coins(40, torch.ones(1, 3) == 1, 3)[:, 0]
    for n in range(3):
        changed = torch.where(kept[:, MASK[0]], x[n], baseline)
        cosine = (changed @ x[n]) / changed.norm(dim=1).clamp(min=1e-8) / x[n].norm()
        weights = (-((1 - cosine) ** 2) / 2).exp()
        fitted = (estimator or Lasso(0.01)).fit(
            kept.double().numpy(), model(changed)[:, 1].detach().numpy(), weights.numpy()
        )
        assert_same(found[n], torch.from_numpy(fitted.coef_), EXACT)


def test_a_linear_score_is_found() -> None:
    weights, x = torch.arange(1.0, 7).double(), rows()
    found = ta.Lime(lambda x: x @ weights, Ridge(1e-8)).attribute(x, n_samples=100)
    assert_same(found, weights * x, 1e-6)


@pytest.mark.parametrize("mask", [None, torch.tensor([[0] * 6, [1, 2, 2, 3, 4, 5], [7] * 6])])
def test_an_example_gets_the_same_in_any_batch(mask: Tensor | None) -> None:
    x = rows()
    together = explained(x, feature_mask=mask)
    for n in range(3):
        own = None if mask is None else mask[n : n + 1]
        assert_same(explained(x[n : n + 1], feature_mask=own), together[n : n + 1], EXACT)
    one_by_one = explained(x, feature_mask=mask, perturbations_per_eval=1)
    assert_same(one_by_one, together, EXACT)


def test_its_functions_are_given_one_example_at_a_time() -> None:
    seen: list[Any] = []

    def similarity(original: Tensor, perturbed: Tensor, sample: Tensor, **given: Any) -> float:
        assert original.shape == perturbed.shape == (1, 6)
        shown = torch.where(sample[0][given["feature_mask"]] == 1, original, given["baselines"])
        assert torch.equal(perturbed, shown)
        return 1 + float(sample.sum())

    def perturb(original: Tensor, **given: Any) -> Tensor:
        seen.append((original, given["num_interp_features"]))
        return torch.randint(0, 2, (1, 3))

    x = rows()
    method = ta.Lime(classifier(), Ridge(0.1), similarity, perturb)
    found = method.attribute(x, target=1, feature_mask=MASK, n_samples=8, baselines=noise(3, 6))
    assert found.shape == (3, 6)
    assert [number for _, number in seen] == [3] * 24
    assert torch.equal(torch.cat([one for one, _ in seen]), x.repeat_interleave(8, 0))


def test_a_generator_may_end_early() -> None:
    def draws(original: Tensor, **given: Any) -> Iterator[Tensor]:
        for number in range(1, 8):
            yield torch.tensor([[number & 1, number >> 1 & 1, number >> 2]])

    method = ta.Lime(lambda x: x.sum(1), Ridge(1e-9), lambda *args, **given: 1.0, draws)
    found = method.attribute(rows(1), feature_mask=MASK, return_input_shape=False)
    assert_same(found, rows(1).reshape(1, 3, 2).sum(2), 1e-6)


def test_a_forward_that_aggregates_the_batch() -> None:
    model, x = classifier(), rows()
    found = ta.Lime(lambda x: float(model(x)[:, 1].sum()), Ridge(0.1)).attribute(x, n_samples=40)
    assert found.shape == (1, 6)
    weights = torch.arange(1.0, 7).double()
    total = ta.Lime(lambda x: (x @ weights).sum(), Ridge(1e-8)).attribute(x, n_samples=100)
    assert_same(total, (weights * x).sum(0, keepdim=True), 1e-6)


def test_pictures_several_targets_and_an_empty_batch() -> None:
    segments = torch.arange(30).reshape(5, 6) // 8
    method = ta.Lime(picture_net(), Ridge(0.1))
    options: dict[str, Any] = {"feature_mask": segments, "n_samples": 30}
    both = method.attribute(pictures(), target=ta.Classes(0, 2), **options)
    assert both.shape == (2, 2, 2, 5, 6)
    assert torch.equal(both[:, 1], method.attribute(pictures(), target=2, **options))
    assert explained(rows()[:0]).shape == (0, 6)


def test_bad_arguments_are_refused() -> None:
    with refused(InputTypeError, "interpretable_model", "fit"):
        ta.Lime(classifier(), 3)
    with refused(InputError, "n_samples", "0"):
        explained(rows(), n_samples=0)
    for drawn, kind, words in (
        (torch.tensor([[0.5, 1, 1]]), InputError, ("0 or 1", "3 features", "LimeBase")),
        (torch.ones(1, 2), InputError, ("3 features", "(1, 2)")),
        ([1, 1, 0], InputTypeError, ("perturb_func", "(1, 3)", "list")),
    ):
        method = ta.Lime(classifier(), Ridge(), perturb_func=lambda x, one=drawn, **given: one)
        with refused(kind, *words):
            method.attribute(rows(), target=1, feature_mask=MASK)

    def none(original: Tensor, **given: Any) -> Iterator[Tensor]:
        yield from ()

    with refused(InputError, "drew no coalition"):
        ta.Lime(classifier(), Ridge(), perturb_func=none).attribute(rows(), target=1)
