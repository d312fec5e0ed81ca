"""Projected steps against a loop of autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

from torchattr.errors import InputError
from torchattr.robust import PGD

X = noise(3, 4)
LABELS = torch.tensor([0, 2, 1])


def model() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))).double()


def loop(net: nn.Module, norm: str, steps: int, sign: float) -> Tensor:
    point = X.clone()
    for _ in range(steps):
        leaf = point.clone().requires_grad_()
        (grad,) = torch.autograd.grad(F.cross_entropy(net(leaf), LABELS), leaf)
        change = point + sign * 0.05 * grad.sign() - X
        if norm == "Linf":
            change = change.clamp(-0.12, 0.12)
        else:
            change = change * (0.12 / change.norm(dim=1, keepdim=True)).clamp(max=1)
        point = X + change
    return point


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_it_is_the_loop(norm: str, targeted: bool) -> None:
    net = model()
    found = PGD(net).perturb(X, 0.12, 0.05, 5, LABELS, targeted=targeted, norm=norm)
    assert_same(found, loop(net, norm, 5, -1.0 if targeted else 1.0), 1e-6)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_a_random_start_is_in_the_ball_and_repeatable(norm: str) -> None:
    attack, mask = PGD(model()), torch.tensor([[1, 1, 0, 1]])
    options = {"random_start": True, "norm": norm}
    found = attack.perturb(X, 0.3, 0.1, 0, LABELS, mask=mask, seed=[1, 2, 3], **options)
    change = found - X
    size = change.abs().amax(1) if norm == "Linf" else change.norm(dim=1)
    assert bool((size > 0).all())
    assert bool((size <= 0.3 + 1e-12).all())
    assert not change[:, 2].any()
    alone = attack.perturb(X[1:2], 0.3, 0.1, 0, LABELS[1:2], mask=mask, seed=2, **options)
    assert_same(alone, found[1:2], 1e-12)
    other = attack.perturb(X, 0.3, 0.1, 0, LABELS, mask=mask, seed=4, **options)
    assert not torch.equal(other, found)


def test_the_ball_is_filled_evenly() -> None:
    many = torch.zeros(4000, 2, dtype=torch.float64)
    options = {"random_start": True, "norm": "L2", "seed": list(range(4000))}
    found = PGD(nn.Identity()).perturb(many, 1.0, 0.1, 0, 0, **options)
    # In a disc, a share of r² lies within a radius r.
    assert abs(float((found.norm(dim=1) < 0.5).double().mean()) - 0.25) < 0.03


def test_wrong_arguments_are_refused() -> None:
    with refused(InputError, "norm", "'L2'", "L7"):
        PGD(model()).perturb(X, 0.1, 0.1, 1, LABELS, norm="L7")
    with refused(InputError, "radius", "-1"):
        PGD(model()).perturb(X, -1, 0.1, 1, LABELS)
    with refused(InputError, "step_num", "-2"):
        PGD(model()).perturb(X, 0.1, 0.1, -2, LABELS)
