"""A model that absorbs a shift: the same function of the shifted input, exactly."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from measured import SmallNet
from torch import nn

import torchattr as ta
from torchattr.errors import InputTypeError, ModelError
from torchattr.evaluate.shifted_model import (
    AbsorbedShift,
    PaddedBy,
    absorbing,
    shifted_copy,
)

X = noise(2, 2, 6, 8)

LAYERS = {
    "without padding": lambda: nn.Conv2d(2, 3, 3),
    "padded": lambda: nn.Conv2d(2, 3, (3, 2), padding=(2, 1), stride=2),
    "without bias": lambda: nn.Conv2d(2, 3, 3, padding=1, bias=False),
    "of the same size": lambda: nn.Conv2d(2, 3, (3, 5), padding="same"),
    "valid": lambda: nn.Conv2d(2, 3, 3, padding="valid", bias=False),
    "reflected": lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),
    "grouped": lambda: nn.Conv2d(2, 4, 3, groups=2, padding=1, dilation=2),
    "linear": lambda: nn.Linear(8, 3),
}
PADDED = ("padded", "without bias", "of the same size", "grouped")
SHIFTS = {
    "number": torch.full((1, 2, 6, 8), -1.3, dtype=torch.float64),
    "of channels": torch.tensor([0.5, -2.0]).double().reshape(1, 2, 1, 1).expand(1, 2, 6, 8),
    "picture": noise(1, 2, 6, 8, seed=4),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kind", SHIFTS)
def test_the_layer_absorbs_any_shift(name: str, kind: str) -> None:
    layer, shift = seeded(LAYERS[name]).double(), SHIFTS[kind]
    found = absorbing(copy.deepcopy(layer), shift)
    assert_same(found(X + shift), layer(X), 1e-12)
    if (
        kind == "picture"
        or (name in PADDED and kind == "of channels")
        or (name == "linear" and kind == "of channels")
    ):
        assert isinstance(found, AbsorbedShift)
    elif name in PADDED:
        assert isinstance(found, PaddedBy)
    else:
        assert type(found) is type(layer)


def test_rows_move_the_bias_alone() -> None:
    layer, shift = seeded(lambda: nn.Linear(4, 3)).double(), noise(1, 4)
    found = absorbing(copy.deepcopy(layer), shift)
    assert type(found) is nn.Linear
    assert_same(found.bias, layer.bias - layer.weight @ shift[0], 1e-12)


def test_the_users_model_stays_as_it_is() -> None:
    model = seeded(SmallNet).double()
    before, modules = copy.deepcopy(model.state_dict()), list(model.modules())
    copied, _ = shifted_copy(model, torch.full((1, 2, 6, 8), 2.0).double())
    assert_same(copied(X + 2), model(X), 1e-12)
    assert list(model.modules()) == modules
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    shared = {id(one) for one in model.parameters()} & {id(one) for one in copied.parameters()}
    assert len(shared) == 3  # all but the first bias


def test_what_refers_to_its_layers_refers_to_those_of_the_copy() -> None:
    model = seeded(SmallNet).double()
    method = ta.GradCAM(model, layer=model[2])
    copied, rebound = shifted_copy(model, torch.full((1, 2, 6, 8), 2.0).double(), method)
    assert rebound.model is copied
    assert method.model is model
    assert_same(rebound.attribute(X + 2, 1), method.attribute(X, 1), 1e-10)


def test_what_cannot_absorb_is_refused() -> None:
    with refused(InputTypeError, "nn.Module", "function", "shifted="):
        shifted_copy(lambda x: x, torch.ones(1, 2))
    with refused(ModelError, "no convolution or linear layer", "shifted="):
        shifted_copy(nn.Sequential(nn.ReLU()), torch.ones(1, 2))

    class Uncopied(nn.Linear):
        def __deepcopy__(self, memo: object) -> nn.Module:
            raise TypeError("a lock")

    with refused(ModelError, "cannot be copied", "a lock", "shifted="):
        shifted_copy(nn.Sequential(Uncopied(2, 2)), torch.ones(1, 2))
