"""The general LIME: samples in either space, one by one or in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from peers import Counting, classifier, rows
from sklearn.linear_model import Ridge
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, OutputError

X = rows(1)
KEPT = noise(20, 6) > 0


def all_samples(original: Tensor, **given: Any) -> Iterator[Tensor]:
    yield from KEPT.long()[:, None]


def weight(original: Tensor, perturbed: Tensor, sample: Tensor, **given: Any) -> Tensor:
    return 1 + sample.sum()


def of(**parts: Any) -> ta.LimeBase:
    known: dict[str, Any] = {
        "interpretable_model": Ridge(0.1),
        "similarity_func": weight,
        "perturb_func": all_samples,
        "perturb_interpretable_space": True,
        "from_interp_rep_transform": lambda sample, original, **given: sample * original,
        "to_interp_rep_transform": None,
    }
    return ta.LimeBase(parts.pop("model", classifier()), **{**known, **parts})


def expected() -> Tensor:
    z = KEPT.double()
    scores = classifier()(z * X)[:, 1].detach()
    fitted = Ridge(0.1).fit(z.numpy(), scores.numpy(), 1 + z.sum(1).numpy())
    return torch.from_numpy(fitted.coef_)[None]


@pytest.mark.parametrize("at_once", [None, 1, 3])
def test_it_is_the_weighted_fit(at_once: int | None) -> None:
    model = Counting(classifier())
    found = of(model=model).attribute(X, 1, n_samples=20, perturbations_per_eval=at_once)
    assert_same(found, expected(), 1e-10)
    assert max(model.seen[1:]) == (at_once or 20)


def test_samples_may_be_perturbed_inputs() -> None:
    method = of(
        perturb_func=lambda original, **given: next(given["samples"]) * original,
        perturb_interpretable_space=False,
        from_interp_rep_transform=None,
        to_interp_rep_transform=lambda perturbed, original, **given: (perturbed != 0).long(),
    )
    samples = iter(KEPT.long()[:, None])
    found = method.attribute(X, 1, n_samples=20, samples=samples)
    assert_same(found, expected(), 1e-10)


def test_memory_that_runs_out_is_shared_by_fewer() -> None:
    model = Counting(classifier(), limit=6)
    found = of(model=model).attribute(X, 1, n_samples=20)
    assert_same(found, expected(), 1e-10)


def test_a_generator_may_end_early_and_a_batch_may_be_aggregated() -> None:
    assert_same(of().attribute(X, 1, n_samples=50), expected(), 1e-10)
    total = of(model=lambda x: classifier()(x)[:, 1].sum().detach())
    assert total.attribute(rows(), n_samples=20).shape == (1, 6)


def test_bad_arguments_are_refused() -> None:
    with refused(InputError, "from_interp_rep_transform", "perturb_interpretable_space=True"):
        of(from_interp_rep_transform=None)
    with refused(InputError, "to_interp_rep_transform", "perturb_interpretable_space=False"):
        of(perturb_interpretable_space=False)
    with refused(InputTypeError, "similarity_func", "float"):
        of(similarity_func=1.0)
    with refused(InputTypeError, "interpretable_model", "str"):
        of(interpretable_model="ridge")
    with refused(OutputError, "3 examples", "one example at a time"):
        of().attribute(rows(), 1)
    with refused(InputError, "n_samples", "0"):
        of().attribute(X, 1, n_samples=0)
    with refused(InputError, "drew no sample"):
        of(perturb_func=_nothing).attribute(X, 1)


def _nothing(original: Tensor) -> Iterator[Tensor]:
    yield from ()
