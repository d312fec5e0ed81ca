"""What is recorded of a reference's run, and compared with another."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise, refused
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, TorchattrWarning
from torchattr.layers.reference import Tolerance, is_same

X, X0, W = noise(3, 4, 6), noise(3, 4, 6, seed=2), noise(6, 6, seed=3)


def test_small_differences() -> None:
    x = torch.tensor([1e6, 1e6, 1e-9, 0.0, torch.inf], dtype=torch.float64)
    x0 = torch.tensor([1e6 + 0.01, 1e6 + 1, 2e-9, 0.0, torch.inf], dtype=torch.float64)
    small = Tolerance().is_small(x - x0, x, x0)
    assert small.tolist() == [True, False, False, True, True]
    small = Tolerance(0.0, 1e-8).is_small(x - x0, x, x0)
    assert small.tolist() == [False, False, True, True, True]


def test_same_tensors() -> None:
    assert is_same(X, X)
    assert is_same(X, X.clone())
    assert is_same(X.mT, X.clone().mT)
    assert not is_same(X, X0)
    assert not is_same(X, X.float())
    assert not is_same(X, X[:, :3])
    assert not is_same(X[:, :2, :2], X.flatten()[: 3 * 2 * 2].view(3, 2, 2))


def test_inputs_that_the_model_writes_over_later_are_copied() -> None:
    def writes(x: Tensor) -> Tensor:
        h = x @ W
        y = torch.sigmoid(h)
        h.mul_(3).add_(1)
        return (y + h).flatten(1)

    def leaves(x: Tensor) -> Tensor:
        h = x @ W
        return (torch.sigmoid(h) + 3 * h + 1).flatten(1)

    found, expected = (ta.DeepLift(f).attribute(X, X0, target=5) for f in (writes, leaves))
    assert_same(found, expected, 1e-12)


def test_random_numbers_are_the_same_for_both() -> None:
    def noisy(x: Tensor) -> Tensor:
        return ((x @ W).relu() * torch.rand(6, dtype=x.dtype)).flatten(1)

    maps, delta = ta.DeepLift(noisy).attribute(X, X0, target=5, return_convergence_delta=True)
    assert (delta.abs() < 1e-12).all()
    assert maps.abs().max() > 0.01


@pytest.mark.parametrize("eps", ["1", True, None])
def test_sizes_of_differences_that_are_no_numbers(eps: object) -> None:
    if eps is None:
        assert "eps" not in repr(ta.DeepLift(torch.nn.Linear(2, 2)))
        return
    with refused(InputTypeError, "eps"):
        ta.DeepLift(torch.nn.Linear(2, 2), eps=eps)  # type: ignore[arg-type]


@pytest.mark.parametrize("eps", [0, -1.0, float("nan")])
def test_sizes_of_differences_that_are_not_above_zero(eps: float) -> None:
    with refused(InputError, "eps", "above 0"):
        ta.DeepLift(torch.nn.Linear(2, 2), eps=eps)


def test_an_absolute_size_of_differences() -> None:
    x = torch.tensor([[2.0, 2.0]], dtype=torch.float64)
    x0 = torch.tensor([[2.5, 2.05]], dtype=torch.float64)
    method = ta.DeepLift(lambda x: x.exp(), multiply_by_inputs=False, eps=0.1)
    with pytest.warns(TorchattrWarning, match="do not sum"):
        found = method.attribute(x, x0, target=lambda y: y.sum(1))[0]
    assert found[0] == (x0[0, 0].exp() - x[0, 0].exp()) / 0.5
    assert found[1] == torch.tensor(2.025, dtype=torch.float64).exp()
