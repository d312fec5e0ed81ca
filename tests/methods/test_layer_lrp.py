"""Relevance at layers: by hand, as shares of the score, and where gradients are something else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta

IMAGES = noise(2, 3, 8, 8)


class Turned(nn.Module):
    """Swaps height and width: elements move, and nothing else happens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(2, 3)


def network(*, norm: bool = True) -> Any:
    """Return a network whose batch-norm has statistics and weights of its own."""
    model = seeded(
        lambda: nn.Sequential(
            Turned(),
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(4, 5, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(80, 3),
        )
    ).double()
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = noise(4)
            module.running_var = noise(4).abs() + 0.5
            module.weight.data, module.bias.data = noise(4, seed=2), noise(4, seed=3)
    return model


def by_hand(model: Any, epsilon: float) -> Tensor:
    """Return the ε-relevance of the second convolution's input, with matrices."""
    hidden = model[:4](IMAGES).detach()
    z = model[4](hidden).detach()
    last = model[7]
    sign = torch.where(z < 0, -1.0, 1.0).double()
    scores = last(z.relu().flatten(1))[:, 1].detach().view(-1, 1, 1, 1)
    factor = scores / (scores + epsilon * scores.sign())
    above = z.relu() * last.weight[1].detach().view(5, 4, 4) * factor
    stabilised = z + epsilon * sign
    rows = torch.eye(hidden[0].numel(), dtype=torch.float64).view(-1, *hidden[0].shape)
    matrix = (model[4](rows) - model[4].bias.view(1, -1, 1, 1)).detach().flatten(1)
    back = (above / stabilised).flatten(1) @ matrix.T
    return hidden * back.view_as(hidden)


def test_by_hand() -> None:
    model = network()
    method = ta.LayerLRP(model, "3", {"conv": "epsilon", "linear": "epsilon"}, epsilon=0.01)
    assert_same(method.attribute(IMAGES, 1), by_hand(model, 0.01).detach(), 1e-12)


@pytest.mark.parametrize("composite", ["epsilon_plus", "epsilon_alpha2_beta1", "epsilon_plus_flat"])
@pytest.mark.parametrize("of_input", [False, True])
def test_a_convolution_and_its_norm_are_one_layer(composite: str, of_input: bool) -> None:
    """Behind both is a ReLU alone, which passes all relevance on."""
    model = network()
    layers = ["2", "3"] if of_input else ["1", "2", "3"]
    method = ta.LayerLRP(model, layers, composite)
    found = method.attribute(IMAGES, 1, attribute_to_layer_input=of_input)
    for layer in layers[:-1]:
        assert_same(found[layer], found["3"], 1e-12)
    norm = ta.LayerLRP(model, "2", composite).attribute(IMAGES, 1)
    assert_same(found["3"], norm, 1e-12)


def test_the_folded_network_has_the_same_relevance_there() -> None:
    model, folded = network(), network(norm=False)
    conv, norm = model[1], model[2]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded[1].weight.data = (conv.weight * scale[:, None, None, None]).data
    folded[1].bias.data = ((conv.bias - norm.running_mean) * scale + norm.bias).data
    folded[4:].load_state_dict(model[4:].state_dict())
    found = [ta.LayerLRP(one, "1").attribute(IMAGES, 1) for one in (model, folded)]
    assert_same(*found, 1e-9)


def test_a_norm_with_other_readers_is_a_layer_of_its_own() -> None:
    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = network()

        def forward(self, x: Tensor) -> Any:
            z = self.parts[1](x)
            return self.parts[4:](self.parts[2](z).relu() + z)

    model = seeded(Read).double()
    found = ta.LayerLRP(model, ["parts.1", "parts.2"], "zero").attribute(IMAGES, 1)
    trace = model.parts[1](IMAGES).detach().requires_grad_()
    scores = model.parts[4:](model.parts[2](trace).relu() + trace)[:, 1]
    (grad,) = torch.autograd.grad(scores.sum(), trace)
    assert_same(found["parts.1"], (trace * grad).detach(), 1e-10)


@pytest.mark.parametrize("composite", ["epsilon_plus_flat", "epsilon_gamma_box"])
def test_below_a_rule_that_gives_relevance(composite: str) -> None:
    """There the gradient is the relevance, also where the values are 0."""
    model = network()
    options = {"low": -4.0, "high": 4.0} if composite.endswith("box") else {}
    images = IMAGES * (IMAGES > 0)
    expected = ta.LRP(model, composite, **options).attribute(images, 1)
    assert bool(expected[images == 0].any())
    turned = ta.LayerLRP(model, "0", composite, **options)
    assert_same(turned.attribute(images, 1), expected.transpose(2, 3), 1e-12)
    assert_same(turned.attribute(images, 1, attribute_to_layer_input=True), expected, 1e-12)
    conv = ta.LayerLRP(model, "1", composite, **options)
    read = conv.attribute(images, 1, attribute_to_layer_input=True)
    assert_same(read, expected.transpose(2, 3), 1e-12)
    assert_same(read.sum((1, 2, 3)), conv.attribute(images, 1).sum((1, 2, 3)), 1e-4)


def test_a_rule_that_gives_relevance_by_the_name_of_its_layer() -> None:
    model = network()
    named = ta.LRP(model, {"1": "flat", "conv": "z_plus", "linear": "epsilon"})
    expected = ta.LRP(model, "epsilon_plus_flat").attribute(IMAGES, 1)
    assert_same(named.attribute(IMAGES, 1), expected)
    found, (ledger, _) = named.attribute(IMAGES, 1, return_ledger=True)
    assert ledger.inputs == pytest.approx(float(found[0].sum()))


def test_the_first_layer_is_that_of_the_network_not_of_what_is_above_the_tap() -> None:
    model = network()
    flat, plus = (
        ta.LayerLRP(model, "3", name).attribute(IMAGES, 1)
        for name in ("epsilon_plus_flat", "epsilon_plus")
    )
    assert_same(flat, plus)


def test_the_sum_is_what_passes_the_layer() -> None:
    model = network()
    (ledger, _) = ta.LRP(model, "zero").ledgers(IMAGES, 1)
    stayed = ledger.by_layer()
    found = ta.LayerLRP(model, ["3", "5"], "zero").attribute(IMAGES, 1)
    assert float(found["5"][0].sum()) == pytest.approx(ledger.score - stayed["7"])
    expected = ledger.score - stayed["7"] - stayed["4"]
    assert float(found["3"][0].sum()) == pytest.approx(expected)


def test_calls_of_a_reused_layer_and_the_start_at_one() -> None:
    layer = nn.Linear(4, 4, bias=False)
    model = seeded(lambda: nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(4, 2, bias=False)))
    model = model.double()
    for parameter in model.parameters():
        parameter.data.abs_()
    x = noise(3, 4).abs()
    method = ta.LayerLRP(model, "0", "zero", calls="each", start="one")
    for relevance in method.attribute(x, 1):
        assert_same(relevance.sum(1), torch.ones(3, dtype=torch.float64), 1e-9)
    with pytest.warns(ta.LayerReuseWarning):
        ta.LayerLRP(model, "0").attribute(x, 1)


def test_several_targets_from_one_forward() -> None:
    model = network()
    method = ta.LayerLRP(model, ["1", "3"], "epsilon_plus_flat")
    found = method.attribute(IMAGES, ta.Classes([0, 2]))
    for number, target in enumerate((0, 2)):
        one = method.attribute(IMAGES, target)
        for layer in ("1", "3"):
            assert_same(found[layer][:, number], one[layer], 1e-12)


def test_a_layer_of_several_tensors() -> None:
    class Split(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x[:, :2], x[:, 2:]

    class Join(nn.Module):
        def forward(self, parts: tuple[Tensor, Tensor]) -> Tensor:
            return torch.cat([parts[0], 2 * parts[1]], 1)

    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), Split(), Join(), nn.Linear(4, 2)))
    x = noise(2, 4)
    parts = ta.LayerLRP(model.double(), "1", "zero").attribute(x, 1)
    joined = ta.LayerLRP(model, "2", "zero").attribute(x, 1)
    assert isinstance(parts, tuple)
    assert_same(torch.cat(parts, 1), joined, 1e-12)


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with refused(ta.LayerError, "'9'"):
        ta.LayerLRP(network(), "9")


def test_repr_names_what_was_chosen() -> None:
    shown = repr(ta.LayerLRP(network(), "3", "zero", calls="sum"))
    assert "layer='3'" in shown
    assert "calls='sum'" in shown
    assert "composite='zero'" in shown
