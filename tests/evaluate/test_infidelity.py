"""Infidelity against the formula of the paper, sample by sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, OutputError, ShapeError
from torchattr.evaluate import infidelity, perturbed_by

X = noise(3, 4)


def model() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))).double()


def scaled_down(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Take away another share of each row."""
    share = torch.linspace(0.1, 0.9, len(inputs), dtype=inputs.dtype)[:, None]
    return share * inputs, (1 - share) * inputs


def formula(net: nn.Module, maps: Tensor, target: int, samples: int, normalize: bool) -> Tensor:
    """Return the mean of `(Iᵀ Φ − (s(x) − s(x − I)))²`, with the best scale if asked for."""
    shares = torch.linspace(0.1, 0.9, len(X) * samples, dtype=X.dtype).reshape(len(X), samples)
    values = []
    for x, phi, own in zip(X, maps, shares, strict=True):
        products = torch.stack([(share * x * phi).sum() for share in own])
        effects = torch.stack([(net(x[None]) - net((1 - s) * x[None]))[0, target] for s in own])
        scale = (products * effects).mean() / products.square().mean() if normalize else 1
        values.append((scale * products - effects).square().mean())
    return torch.stack(values).detach()


@pytest.mark.parametrize("normalize", [False, True])
def test_it_is_the_formula(normalize: bool) -> None:
    net, maps = model(), noise(3, 4, seed=2)
    options: dict[str, Any] = {"perturb_func": scaled_down, "n_samples": 5, "normalize": normalize}
    found = infidelity(net, X, maps, 1, **options, perturbations_per_eval=5)
    assert_same(found, formula(net, maps, 1, 5, normalize), 1e-12)


@pytest.mark.parametrize("at_once", [1, 2, 3, None])
def test_noise_does_not_depend_on_parts_or_neighbours(at_once: int | None) -> None:
    net, maps = model(), noise(3, 4, seed=2)
    whole = infidelity(net, X, maps, 1, n_samples=7, seed=[3, 4, 5])
    parts = infidelity(net, X, maps, 1, n_samples=7, seed=[3, 4, 5], perturbations_per_eval=at_once)
    assert_same(parts, whole, 1e-12)
    alone = infidelity(net, X[1:2], maps[1:2], 1, n_samples=7, seed=4)
    assert_same(alone, whole[1:2], 1e-12)


def test_several_targets_have_their_own_attributions() -> None:
    net, maps = model(), noise(3, 2, 4, seed=2)
    both = infidelity(net, X, maps, ta.Classes(2, 0))
    assert_same(both[:, 0], infidelity(net, X, maps[:, 0], 2), 1e-12)
    assert_same(both[:, 1], infidelity(net, X, maps[:, 1], 0), 1e-12)


def test_gradients_of_a_linear_model_are_faithful() -> None:
    net = seeded(nn.Linear, 4, 3).double()
    maps = ta.Saliency(net).attribute(X, 2, abs=False)
    assert float(infidelity(net, X, maps, 2).max()) < 1e-25
    assert float(infidelity(net, X, 2 * maps, 2).min()) > 1e-5
    assert float(infidelity(net, X, 2 * maps, 2, normalize=True).max()) < 1e-15


def test_shares_are_for_attributions_in_units_of_the_score() -> None:
    net = seeded(nn.Linear, 4, 3).double()

    @perturbed_by(multiply_by_inputs=True)
    def without_half(inputs: Tensor, baselines: Tensor) -> Tensor:
        return torch.where(torch.arange(4) < 2, inputs, baselines)

    base = noise(1, 4, seed=5)
    maps = ta.IntegratedGradients(net).attribute(X, base, target=1)
    options: dict[str, Any] = {"perturb_func": without_half, "baselines": base}
    assert float(infidelity(net, X, maps, 1, **options).max()) < 1e-20


def test_two_inputs_and_further_arguments() -> None:
    def net(a: Tensor, b: Tensor, factor: Tensor) -> Tensor:
        return ((a * 2).sum(1) + b.square().sum(1)) * factor

    inputs, factor = (X, noise(3, 2, seed=4)), torch.tensor([1.0, 2.0, 3.0], dtype=X.dtype)
    maps = ta.Saliency(net).attribute(inputs, abs=False, additional_forward_args=factor)
    options: dict[str, Any] = {"additional_forward_args": factor, "stdev": 1e-4, "n_samples": 3}
    found = infidelity(net, inputs, maps, **options)
    assert found.shape == (3,)
    assert float(found.max()) < 1e-12


def test_inputs_and_attributions_stay_as_they_are() -> None:
    net, x, maps = model(), X.clone(), noise(3, 4, seed=2)
    before = maps.clone()
    infidelity(net, x, maps, 1, perturb_func=lambda rows: (rows.mul_(0.5), rows))
    assert torch.equal(x, X)
    assert torch.equal(maps, before)


def test_wrong_arguments_are_refused() -> None:
    net, maps = model(), noise(3, 4)
    with refused(ShapeError, "(3, 3)", "(3, 4)"):
        infidelity(net, X, maps[:, :3], 1)
    with refused(ShapeError, "attributions", "2 tensors"):
        infidelity(net, X, (maps, maps), 1)
    with refused(InputTypeError, "perturb_func", "perturbed_by"):
        infidelity(net, X, maps, 1, perturb_func=lambda rows: rows)
    with refused(ShapeError, "perturb_func", "(30, 3)"):
        infidelity(net, X, maps, 1, perturb_func=lambda rows: (rows[:, :3], rows))
    with refused(InputError, "n_samples", "0"):
        infidelity(net, X, maps, 1, n_samples=0)
    with refused(InputError, "stdev", "-1"):
        infidelity(net, X, maps, 1, stdev=-1)
    with refused(ShapeError, "seed", "2 entries"):
        infidelity(net, X, maps, 1, seed=[1, 2])
    with refused(OutputError, "one row"):
        infidelity(lambda x: x.sum(0), X, maps)


def test_numbers_and_functions_of_wrong_types_are_refused() -> None:
    x = torch.ones(1, 3)
    with refused(InputTypeError, "stdev must be a number, got str 'a'"):
        infidelity(lambda x: x, x, x, 0, stdev="a")  # type: ignore[arg-type]
    with refused(InputTypeError, "perturb_func must be a function"):
        infidelity(lambda x: x, x, x, 0, perturb_func="a")  # type: ignore[arg-type]
