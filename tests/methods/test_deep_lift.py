"""DeepLIFT on whole models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, ShapeError


def made(inplace: bool = False) -> nn.Module:
    layers = [
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace), nn.MaxPool2d(3, 2),
        nn.Conv2d(6, 4, 2), nn.SiLU(inplace), nn.Flatten(), nn.Linear(16, 5), nn.Tanh(),
        nn.Linear(5, 4),
    ]  # fmt: skip
    return nn.Sequential(*layers).double().eval()


MODEL = seeded(made)
X, X0 = noise(3, 3, 10, 10), noise(3, 3, 10, 10, seed=2)


class Reused(nn.Module):
    """One activation module in three places, and functions between."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.act = nn.Linear(6, 6), nn.Linear(6, 4), nn.GELU()

    def forward(self, x: Tensor, scale: Any = None, bias: float = 0.0) -> Tensor:
        h = self.act(self.one(x)) + self.act(x)
        h = h if scale is None else h * scale
        return self.two(self.act(h)) + bias  # type: ignore[no-any-return]


def rise(model: Any, target: int, x: Tensor, x0: Tensor, *arguments: Any) -> Tensor:
    difference: Tensor = (model(x, *arguments) - model(x0, *arguments))[:, target]
    return difference


def sums(maps: Tensor) -> Tensor:
    return maps.flatten(1).sum(1)


def test_it_is_complete_and_says_so() -> None:
    maps, delta = ta.DeepLift(MODEL).attribute(X, X0, target=1, return_convergence_delta=True)
    assert_same(sums(maps), rise(MODEL, 1, X, X0), 1e-12)
    assert delta.shape == (3,)
    assert delta.abs().max() < 1e-13
    again = ta.DeepLift(MODEL).compute_convergence_delta(maps, X0, X, target=1)
    assert again.abs().max() < 1e-13
    assert ta.DeepLift(MODEL).compute_convergence_delta(maps + 1, X0, X, target=1).min() > 100


@pytest.mark.parametrize(
    "baselines", [None, 0.5, X0[:1], X0[0], X0.float(), (X0,)], ids=lambda one: type(one).__name__
)
def test_forms_of_baselines(baselines: Any) -> None:
    value = baselines[0] if isinstance(baselines, tuple) else baselines
    start = torch.as_tensor(0.0 if value is None else value, dtype=X.dtype).expand_as(X)
    found = ta.DeepLift(MODEL).attribute(X, baselines, target=1)
    assert_same(found, ta.DeepLift(MODEL).attribute(X, start.clone(), target=1), 1e-12)
    assert_same(sums(found), rise(MODEL, 1, X, start), 1e-12)


@pytest.mark.parametrize("target", [ta.TopK(2), ta.Classes(3, 0)])
def test_several_targets(target: Any) -> None:
    maps, delta = ta.DeepLift(MODEL).attribute(X, X0, target, return_convergence_delta=True)
    assert maps.shape == (3, 2, *X.shape[1:])
    assert delta.shape == (3, 2)
    best = MODEL(X).topk(2).indices if isinstance(target, ta.TopK) else torch.tensor([[3, 0]] * 3)
    for number in range(2):
        alone = ta.DeepLift(MODEL).attribute(X, X0, best[:, number])
        assert_same(maps[:, number], alone, 1e-12)


def test_a_neuron_and_the_predicted_class() -> None:
    neuron = ta.DeepLift(MODEL).attribute(X, X0, ta.Neuron(MODEL[7], 2))
    assert_same(sums(neuron), rise(MODEL[:8], 2, X, X0), 1e-12)
    predicted = ta.DeepLift(MODEL).attribute(X, X0)
    assert_same(predicted, ta.DeepLift(MODEL).attribute(X, X0, MODEL(X).argmax(1)))


def test_several_inputs_and_further_arguments() -> None:
    def two(a: Tensor, b: Tensor, scale: Tensor, shift: float) -> Tensor:
        return (a * b.mean(-1, keepdim=True) * scale).tanh() + shift

    a, b, a0, b0 = (noise(3, 4, seed=seed) for seed in range(4))
    scale = noise(3, 1, seed=7)
    maps = ta.DeepLift(two).attribute((a, b), (a0, b0), 1, (scale, 2.0))
    expected = (two(a, b, scale, 2.0) - two(a0, b0, scale, 2.0))[:, 1]
    assert_same(sums(maps[0]) + sums(maps[1]), expected, 1e-12)


def test_reused_modules_and_functions() -> None:
    model = seeded(Reused).double()
    x, x0 = noise(3, 6), noise(3, 6, seed=2)
    maps = ta.DeepLift(model).attribute(x, x0, 1, noise(3, 1, seed=4))
    assert_same(sums(maps), rise(model, 1, x, x0, noise(3, 1, seed=4)), 1e-12)


def test_in_place_layers_and_other_strides_give_the_same() -> None:
    expected = ta.DeepLift(MODEL).attribute(X, X0, 1)
    inplace = seeded(made, inplace=True)
    inplace.load_state_dict(MODEL.state_dict())
    assert_same(ta.DeepLift(inplace).attribute(X, X0, 1), expected, 1e-12)
    last = X.contiguous(memory_format=torch.channels_last)
    assert_same(ta.DeepLift(MODEL).attribute(last, X0, 1), expected, 1e-12)


def test_an_exported_model_gives_the_same() -> None:
    exported = torch.export.export(MODEL, (X,)).module()
    expected = ta.DeepLift(MODEL).attribute(X, X0, 1)
    assert_same(ta.DeepLift(exported).attribute(X, X0, 1), expected, 1e-12)
    prepared = ta.prepare(MODEL.float(), X.float())
    MODEL.double()
    found = ta.DeepLift(prepared).attribute(X.float(), X0.float(), 1)
    assert_same(found.double(), expected, 1e-4)


def test_multipliers_and_custom_attributions() -> None:
    multipliers = ta.DeepLift(MODEL, multiply_by_inputs=False).attribute(X, X0, 1)
    maps = ta.DeepLift(MODEL).attribute(X, X0, 1)
    assert_same(multipliers * (X - X0), maps, 1e-12)
    found = ta.DeepLift(MODEL).attribute(
        X, X0, 1, custom_attribution_func=lambda m, x, b: (m[0] + x[0] - b[0],)
    )
    assert_same(found, multipliers + X - X0, 1e-12)
    with refused(InputTypeError, "custom_attribution_func", "tuple of 1"):
        ta.DeepLift(MODEL).attribute(X, X0, 1, custom_attribution_func=lambda m, x, b: None)


def test_a_linear_model_needs_no_rule() -> None:
    model = seeded(nn.Linear, 4, 2).double()
    x = noise(2, 4)
    assert_same(ta.DeepLift(model).attribute(x, target=1), x * model.weight[1].detach(), 1e-12)


def test_baselines_that_do_not_fit() -> None:
    method = ta.DeepLift(MODEL)
    with refused(ShapeError, "baselines", "(3, 3, 10, 7)"):
        method.attribute(X, X0[..., :7], 1)
    with refused(InputTypeError, "baselines", "torch.uint8"):
        method.attribute(X, torch.zeros(1, 3, 10, 10, dtype=torch.uint8), 1)
    with refused(InputError, "baselines", "finite"):
        method.attribute(X, float("nan"), 1)
    with refused(ShapeError, "baselines", "2 entries"):
        method.attribute(X, (X0, X0), 1)


def test_it_is_found_by_name() -> None:
    found = ta.explain(MODEL, X, ["deep_lift", "deep_lift_shap"])
    assert_same(found["deep_lift"][:, 0], ta.DeepLift(MODEL).attribute(X), 1e-12)
    assert_same(found["deep_lift_shap"], found["deep_lift"], 1e-12)
