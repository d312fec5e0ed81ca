"""A copy whose layers are drawn anew: which, in which order, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from measured import SmallNet
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, LayerError, ModelError
from torchattr.evaluate.randomised_model import RandomisedModel

X = noise(2, 2, 6, 8, dtype=torch.float32)


class Mixed(nn.Module):
    """Parameters of all kinds: own ones, those of parts that are not called, shared, unused."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)
        self.late = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 4))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.early = nn.Linear(96, 16)
        self.shared = nn.Linear(4, 4, bias=False)
        self.again = nn.Linear(4, 4, bias=False)
        self.again.weight = self.shared.weight

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.early(x.flatten(1)).view(len(x), 4, 4)
        tokens = self.attention(tokens * self.scale, tokens, tokens)[0]
        pooled = self.again(self.shared(tokens)).mean(1)
        return F.linear(pooled, self.late.weight, self.late.bias)


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.first = nn.Conv2d(2, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)).relu().mean((2, 3)))


def names(random: RandomisedModel) -> list[str]:
    return [layer.name for layer in random.layers]


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: one.clone() for name, one in model.state_dict().items()}


def changed(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, one in model.state_dict().items() if not torch.equal(one, before[name])}


def test_layers_follow_each_other_as_the_model_runs_them() -> None:
    random = RandomisedModel(seeded(Blocks), X)
    assert names(random) == ["first", "second.0", "second.1", "head"]


def test_parts_that_are_not_called_count_where_they_are_used() -> None:
    random = RandomisedModel(seeded(Mixed), X)
    # Its own scale stands first; `late` runs as a function, `unused` not at all.
    found = names(random)
    assert found[0] == ""
    assert set(found) == {"", "early", "attention", "attention.out_proj", "shared", "late"}
    order = ["early", "attention", "attention.out_proj", "shared"]
    assert [name for name in found if name in order] == order
    weights = {layer.name: layer.parameters for layer in random.layers}
    assert weights["attention"] == ("in_proj_weight", "in_proj_bias")
    assert weights[""] == ("scale",)


@pytest.mark.parametrize("make", [SmallNet, Blocks, Mixed])
def test_the_model_and_the_random_state_stay_as_they_were(make: Callable[[], nn.Module]) -> None:
    model = seeded(make)
    model.requires_grad_(False)
    before, drawn = state(model), torch.get_rng_state()
    random = RandomisedModel(model, X)
    random.randomise(random.layers)
    assert changed(model, before) == set()
    assert not any(one.requires_grad for one in random.model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not any(module._forward_hooks for module in random.model.modules())
    weights = {
        f"{layer.name}.{one}".lstrip(".") for layer in random.layers for one in layer.parameters
    }
    # A batch-norm is reset to what it was here, and biases of attention to 0, as they were.
    missed = weights - changed(random.model, before)
    assert missed <= {
        "second.1.weight",
        "second.1.bias",
        "attention.in_proj_bias",
        "attention.out_proj.bias",
    }
    random.restore(random.layers)
    assert changed(random.model, before) == set()


def test_a_layer_is_drawn_by_its_own_reset() -> None:
    model = seeded(SmallNet)
    random = RandomisedModel(model, X, seed=3)
    random.randomise(random.layers)
    weight = random.model[0].weight
    bound = 1 / 18**0.5
    # He's uniform distribution with a = √5, as PyTorch initialises a convolution.
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)


def test_a_batch_norm_forgets_its_statistics() -> None:
    model = seeded(Blocks)
    model.second[1].running_mean.fill_(3.0)
    model.second[1].weight.data.fill_(2.0)
    random = RandomisedModel(model, X)
    (norm,) = (layer for layer in random.layers if layer.name == "second.1")
    random.randomise([norm])
    assert random.model.second[1].running_mean.tolist() == [0.0] * 4
    assert random.model.second[1].weight.tolist() == [1.0] * 4
    assert model.second[1].running_mean.tolist() == [3.0] * 4
    random.restore([norm])
    assert random.model.second[1].running_mean.tolist() == [3.0] * 4


def test_what_has_no_reset_is_permuted() -> None:
    model = seeded(Mixed)
    random = RandomisedModel(model, X)
    random.randomise([random.layers[0]])
    scale = random.model.scale.detach()
    assert not torch.equal(scale, model.scale)
    assert_same(scale.sort().values, model.scale.detach())


def test_draws_depend_on_the_seed_and_the_name_alone() -> None:
    model = seeded(Blocks)
    one, other, third = (RandomisedModel(model, X, seed=seed) for seed in (1, 1, 2))
    one.randomise(one.layers)
    other.randomise(other.layers[::-1])
    third.randomise(third.layers)
    assert changed(one.model, state(other.model)) == set()
    assert "head.weight" in changed(one.model, state(third.model))
    assert not torch.equal(one.model.first.weight.std(), one.model.second[0].weight.std())


def test_a_shared_parameter_is_drawn_once_for_both() -> None:
    random = RandomisedModel(seeded(Mixed), X)
    random.randomise(random.layers)
    assert random.model.again.weight is random.model.shared.weight


def test_what_refers_to_the_model_is_copied_with_it() -> None:
    model = seeded(Blocks)
    random = RandomisedModel(model, X, beside=(ta.GradCAM(model, layer=model.first), model.second))
    method, layer = random.beside
    assert method.model is random.model
    assert layer is random.model.second


def test_layers_are_selected_with_what_lies_within_them() -> None:
    random = RandomisedModel(seeded(Blocks), X)
    assert [one.name for one in random.within("second")] == ["second.0", "second.1"]
    assert [one.name for one in random.within(nn.Conv2d)] == ["first", "second.0"]
    with refused(LayerError, "thrid"):
        random.within("thrid")


def test_models_that_cannot_be_randomised_are_named() -> None:
    with refused(InputTypeError, "nn.Module", "function"):
        RandomisedModel(lambda x: x, X)
    with refused(InputError, "no parameters"):
        RandomisedModel(nn.Sequential(nn.Flatten(), nn.ReLU()), X)
    prepared = ta.prepare(seeded(Blocks), X, channels_last=False)
    with refused(InputTypeError, "prepared"):
        RandomisedModel(prepared, X)
    model = seeded(Blocks)
    model.kept = model.head(torch.ones(1, 4))
    with refused(ModelError, "cannot be copied", "__deepcopy__"):
        RandomisedModel(model, X)
