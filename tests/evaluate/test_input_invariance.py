"""Input invariance: which methods ignore a shift, and by how much the others do not."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from measured import SmallNet
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import (
    DisconnectedWarning,
    InputError,
    InputTypeError,
    ModelError,
    UndefinedMetricWarning,
)
from torchattr.evaluate import input_invariance
from torchattr.evaluate.shifted_model import shifted_copy

X = noise(3, 2, 6, 8)


def net() -> nn.Module:
    return seeded(SmallNet).double()


def shifted(model: nn.Module, shift: Tensor | float) -> nn.Module:
    """The shift by hand: for a constant, in the bias of an unpadded convolution."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        made[0].bias -= (made[0].weight * shift).sum((1, 2, 3))
    return made


def unpadded() -> nn.Sequential:
    net = seeded(
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))
    ).double()
    assert isinstance(net, nn.Sequential)
    return net


@pytest.mark.parametrize("order", [1.0, 2.0, float("inf")])
@pytest.mark.parametrize("shift", [-1.0, 0.7])
@pytest.mark.parametrize("method", [ta.InputXGradient, ta.GuidedBackprop, ta.LRP, ta.DeepLift])
def test_it_is_the_definition(
    method: type[ta.GradientAttribution], shift: float, order: float
) -> None:
    model = unpadded()
    other = shifted(model, shift)
    expected = []
    for x in X:
        clean = method(model).attribute(x[None], target=1)
        changed = method(other).attribute(x[None] + shift, target=1)
        size = torch.linalg.vector_norm(clean.flatten(), order)
        expected.append(torch.linalg.vector_norm((changed - clean).flatten(), order) / size)
    found = input_invariance(method(model), X, 1, shift=shift, norm_ord=order)
    if method is ta.GuidedBackprop:
        assert float(found.max()) < 1e-12
        return
    assert_same(found, torch.stack(expected), 1e-10)
    given = input_invariance(method(model), X, 1, shift=shift, norm_ord=order, shifted=other)
    assert_same(given, found, 1e-10)


def test_a_baseline_that_is_shifted_too_restores_it() -> None:
    model, shift = net(), noise(1, 2, 6, 8, seed=3)
    method = ta.IntegratedGradients(model)
    fixed = input_invariance(method, X, 1, shift=shift, n_steps=4)
    assert float(fixed.min()) > 1e-2
    clean = method.attribute(X, baselines=0, target=1, n_steps=4)
    _, other = shifted_copy(model, shift, method)
    found = other.attribute(X + shift, baselines=shift, target=1, n_steps=4)
    assert_same(found, clean, 1e-10)


def test_absolute_differences_and_predicted_classes() -> None:
    model = net()
    method = ta.InputXGradient(model)
    found = input_invariance(method, X, relative=False)
    own = input_invariance(method, X, model(X).argmax(1), relative=False)
    assert_same(found, own)
    maps = method.attribute(X).flatten(1).norm(dim=1)
    assert_same(found / maps, input_invariance(method, X), 1e-12)


def test_a_method_inside_another_is_rebound() -> None:
    model = net()
    torch.manual_seed(0)
    found = input_invariance(ta.NoiseTunnel(ta.Saliency(model)), X, 1, nt_samples=2, stdevs=0.0)
    assert float(found.max()) < 1e-10


def test_explanations_of_zeros_are_undefined() -> None:
    model = unpadded()
    with torch.no_grad():
        model[3].weight[1] = 0
    with (
        pytest.warns(UndefinedMetricWarning, match="0 everywhere"),
        pytest.warns(DisconnectedWarning),
    ):
        found = input_invariance(ta.InputXGradient(model), X, 1)
    assert bool(found.isnan().all())


def test_what_cannot_be_said_is_refused() -> None:
    class Normalising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = SmallNet()

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.inner(2 * x)
            return found

    model = seeded(Normalising).double()
    with refused(ModelError, "does something to its input", "shifted=..."):
        input_invariance(ta.Saliency(model), X, 1)
    found = input_invariance(ta.Saliency(model), X, 1, shifted=lambda x: model(x + 1))
    assert float(found.max()) < 1e-10
    with refused(InputTypeError, "method", "object of a method"):
        input_invariance(lambda x: x, X)  # type: ignore[arg-type]
    with refused(InputTypeError, "single tensor"):
        input_invariance(ta.Saliency(net()), (X,))  # type: ignore[arg-type]
    with refused(InputError, "shift", "infinite"):
        input_invariance(ta.Saliency(net()), X, shift=float("inf"))


def test_a_shift_may_be_an_array_or_a_list() -> None:
    method, shift = ta.InputXGradient(unpadded()), torch.tensor([[[0.5]], [[-0.25]]])
    expected = input_invariance(method, X, 1, shift=shift)
    for same in (shift.numpy(), shift.tolist()):
        assert torch.equal(input_invariance(method, X, 1, shift=same), expected)
