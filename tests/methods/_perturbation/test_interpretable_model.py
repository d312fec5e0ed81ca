"""Linear models for LIME: of scikit-learn, in Captum's form, and none."""

from __future__ import annotations

import sys

import pytest
import torch
from captum._utils.models.linear_model import SkLearnRidge
from helpers import assert_same, noise, refused
from sklearn.linear_model import Lasso, Ridge

from torchattr.errors import InputTypeError, PackageError
from torchattr.methods._perturbation.interpretable_model import (
    check_model,
    coefficients,
    default_model,
)

X, Y, W = noise(30, 4), noise(30, seed=2), noise(30, seed=3).square()


def test_a_weighted_ridge_is_its_formula() -> None:
    mean = W @ X / W.sum()
    centred, rises = X - mean, Y - W @ Y / W.sum()
    system = centred.T @ (W[:, None] * centred) + 0.3 * torch.eye(4).double()
    expected = torch.linalg.solve(system, centred.T @ (W * rises))
    assert_same(coefficients(Ridge(0.3), X, Y, W), expected, 1e-10)


def test_the_callers_model_stays_as_it_is() -> None:
    model = Ridge(0.3)
    coefficients(model, X, Y, W)
    assert not hasattr(model, "coef_")


def test_captums_models_are_fitted_as_they_are() -> None:
    model = SkLearnRidge(alpha=0.3)
    found = coefficients(model, X.float(), Y.float(), W.float())
    assert torch.equal(found, model.representation().detach())
    assert_same(found[0].double(), coefficients(Ridge(0.3), X, Y, W), 1e-4)


def test_the_default_is_a_lasso() -> None:
    assert default_model().get_params() == Lasso(alpha=0.01).get_params()


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with refused(PackageError, "torchattr[lime]", "interpretable_model"):
        default_model()


def test_what_cannot_be_fitted_is_refused() -> None:
    with refused(InputTypeError, "interpretable_model", "fit", "int"):
        check_model(3)
