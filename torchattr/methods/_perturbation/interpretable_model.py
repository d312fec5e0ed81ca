"""Linear models that explain scores by coalitions, for LIME."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from torchattr.errors import InputTypeError, PackageError
from torchattr.methods._perturbation.checked import check_fitted


def default_model() -> Any:
    """Return `sklearn.linear_model.Lasso(alpha=0.01)`.

    Raises:
        PackageError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import Lasso
    except ImportError as error:
        raise PackageError(
            "LIME fits its linear model with scikit-learn, which is not installed; install it with"
            " `pip install torchattr[lime]`, or pass another interpretable_model"
        ) from error
    return Lasso(alpha=0.01)


def check_model(model: Any) -> None:
    """Check the argument `interpretable_model`.

    Raises:
        InputTypeError: it cannot be fitted.
    """
    if not callable(getattr(model, "fit", None)):
        raise InputTypeError(
            "interpretable_model must have a method `fit`, as the linear models of scikit-learn"
            f" have, got {type(model).__name__}; leave it out for Lasso(alpha=0.01)"
        )


def coefficients(model: Any, features: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
    """Fit a model to weighted samples, and return its coefficients.

    Args:
        model: an estimator of scikit-learn, of which a copy is fitted; or, as in Captum, an object
            with `fit(data_loader)` and `representation()`.
        features: `(samples, features)`.
        scores: `(samples,)`.
        weights: `(samples,)`.

    Raises:
        OutputError: a score is NaN or infinite.
    """
    check_fitted(scores)
    if hasattr(model, "representation"):
        data = TensorDataset(features, scores, weights)
        model.fit(DataLoader(data, batch_size=len(features)))
        found: Tensor = model.representation()
        return found.detach()
    # In double precision, in which the squares of no score overflow.
    x, y, w = (values.cpu().double().numpy() for values in (features, scores, weights))
    fitted = deepcopy(model).fit(x, y, sample_weight=w)
    return torch.as_tensor(fitted.coef_, dtype=scores.dtype, device=scores.device)
