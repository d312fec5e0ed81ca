"""The sign step against autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

from torchattr.errors import InputError, TrainingModeError
from torchattr.robust import FGSM

X = noise(3, 4)
LABELS = torch.tensor([0, 2, 1])


def model() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))).double()


def sign(net: nn.Module, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(net(leaf), LABELS), leaf)
    return grad.sign()


@pytest.mark.parametrize("targeted", [False, True])
def test_it_steps_along_the_sign(targeted: bool) -> None:
    net = model()
    found = FGSM(net).perturb(X, 0.1, LABELS, targeted=targeted)
    assert_same(found, X + (-0.1 if targeted else 0.1) * sign(net, X), 1e-12)
    own = FGSM(net, loss_func=nn.CrossEntropyLoss()).perturb(X, 0.1, LABELS, targeted=targeted)
    assert_same(own, found, 1e-12)


def test_bounds_and_masks_hold() -> None:
    net, mask = model(), torch.tensor([[1, 0, 1, 0]])
    found = FGSM(net, lower_bound=-0.2, upper_bound=0.2).perturb(X, 0.1, LABELS, mask=mask)
    assert_same(found, (X + 0.1 * sign(net, X) * mask).clamp(-0.2, 0.2), 1e-12)


def test_two_inputs_are_changed_in_their_form() -> None:
    net = model()
    found = FGSM(lambda a, b: net(torch.cat([a, b], 1))).perturb((X[:, :1], X[:, 1:]), 0.1, LABELS)
    assert isinstance(found, tuple)
    assert_same(torch.cat(found, 1), FGSM(net).perturb(X, 0.1, LABELS), 1e-12)


def test_nothing_of_the_caller_changes() -> None:
    net, x = model(), X.clone()
    FGSM(net).perturb(x, 0.1, LABELS)
    assert torch.equal(x, X)
    assert not x.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    with refused(TrainingModeError, "training"):
        FGSM(nn.Sequential(nn.Dropout(), net).train()).perturb(x, 0.1, LABELS)


def test_bounds_must_be_in_order() -> None:
    with refused(InputError, "lower_bound 1", "upper_bound 0"):
        FGSM(model(), lower_bound=1, upper_bound=0)
