"""Relevance, attention and DeepLIFT are the same however a model is written and run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, seeded
from relevance_oracles.tiny_vit import tiny_vit
from torch import Tensor, nn

import torchattr as ta

X = noise(2, 3, 8, 8)
BOUND = 1e-10


class Block(nn.Module):
    """Two convolutions with a residual sum; all but the weights may be written in two ways."""

    def __init__(self, inplace: bool, reused: bool) -> None:
        super().__init__()
        self.inplace = inplace
        self.first, self.second = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace)
        self.other_relu = self.relu if reused else nn.ReLU(inplace)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.relu(self.norm(self.first(x))))
        if self.inplace:
            y += x
            return self.other_relu(y)
        return self.other_relu(y + x)


class Net(nn.Module):
    def __init__(self, *, inplace: bool = False, reused: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.block = Block(inplace, reused)
        self.again = self.block if reused else Block(inplace, reused)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.stem(x)) if self.block.inplace else torch.relu(self.stem(x))
        scores: Tensor = self.head(self.pool(self.again(self.block(x))).flatten(1))
        return scores


def net(**ways: bool) -> Net:
    """The same function for all ways: both blocks have the same weights."""
    model: Any = seeded(lambda: Net(**ways)).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(noise(4, seed=9))
            module.running_var.copy_(noise(4, seed=8).abs() + 0.5)
    model.load_state_dict(_shared(model.state_dict()))
    return model


def _shared(state: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = seeded(lambda: Net(reused=True)).double().state_dict()
    own = {name: kept[name.replace("other_", "")] for name in state if name in kept}
    return {**state, **own, **{n: own[n.replace("again", "block")] for n in own if "again" in n}}


Attribute = Callable[[Any, Tensor], Tensor]

OF_IMAGES: dict[str, Attribute] = {
    "epsilon_plus": lambda model, x: ta.LRP(model).attribute(x, 1),
    "alpha_beta": lambda model, x: ta.LRP(
        model, "epsilon_alpha2_beta1_flat", zero_params="bias"
    ).attribute(x, 1),
    "gamma_box": lambda model, x: ta.LRP(model, "epsilon_gamma_box", low=-5.0, high=5.0).attribute(
        x, 1
    ),
    "libra_grad": lambda model, x: ta.LibraGrad(model).attribute(x, 1),
    "excitation_backprop": lambda model, x: ta.ExcitationBackprop(model).attribute(x, 1),
    "deep_lift": lambda model, x: ta.DeepLift(model).attribute(x, 0.1, 1),
    "deep_lift_shap": lambda model, x: ta.DeepLiftShap(model).attribute(x, x.flip(0), 1),
    "smooth_grad": lambda model, x: ta.SmoothGrad(model).attribute(x, target=1, n_samples=4),
    "gradient_shap": lambda model, x: ta.GradientShap(model).attribute(x, 0.1, target=1, seed=1),
}
OF_TOKENS: dict[str, Attribute] = {
    "attn_lrp": lambda model, x: ta.AttnLRP(model, gamma=0.05).attribute(x, 1),
    "libra_grad": OF_IMAGES["libra_grad"],
    "raw_attention": lambda model, x: ta.RawAttention(model).attribute(x),
    "attention_rollout": lambda model, x: ta.AttentionRollout(model).attribute(x),
    "attention_gradient": lambda model, x: ta.AttentionGradient(model).attribute(x, 1),
    "deep_lift": OF_IMAGES["deep_lift"],
}
CASES = [
    *(pytest.param(net, method, id=name) for name, method in OF_IMAGES.items()),
    *(pytest.param(tiny_vit, method, id=f"{name} of tokens") for name, method in OF_TOKENS.items()),
]
every_method = pytest.mark.parametrize(("build", "method"), CASES)


@pytest.mark.parametrize("ways", [{"inplace": True}, {"reused": True}], ids=str)
@pytest.mark.parametrize("method", OF_IMAGES)
def test_in_place_and_reused_layers(method: str, ways: dict[str, bool]) -> None:
    attribute = OF_IMAGES[method]
    assert_same(net(**ways)(X), net()(X))
    assert_same(attribute(net(**ways), X), attribute(net(), X), BOUND)


@every_method
def test_channels_last(build: Any, method: Attribute) -> None:
    model = build()
    last = X.contiguous(memory_format=torch.channels_last)
    expected = method(model, X)
    assert_same(method(model.to(memory_format=torch.channels_last), last), expected, BOUND)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@every_method
def test_exported(build: Any, method: Attribute) -> None:
    model = build()
    exported = torch.export.export(model, (X,), dynamic_shapes=None).module()
    assert_same(method(exported, X), method(model, X), BOUND)


@pytest.mark.slow
@every_method
def test_compiled(build: Any, method: Attribute) -> None:
    model = build()
    compiled = torch.compile(deepcopy(model), backend="eager")
    compiled(X)
    assert_same(method(compiled, X), method(model, X), BOUND)


@every_method
def test_bfloat16_is_near(build: Any, method: Attribute) -> None:
    model = build()
    found = method(deepcopy(model).bfloat16(), X.bfloat16())
    expected = method(model, X.bfloat16().double())
    assert found.dtype is torch.bfloat16
    alike = torch.nn.functional.cosine_similarity(
        found.double().flatten(1), expected.flatten(1), dim=1
    )
    assert bool((alike > 0.98).all()), alike


@every_method
def test_four_threads_at_once(build: Any, method: Attribute) -> None:
    model = build()
    images = [noise(2, 3, 8, 8, seed=seed) for seed in range(4)]
    expected = [method(model, one) for one in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: method(model, one), images))
    for one, alone in zip(found, expected, strict=True):
        assert_same(one, alone, BOUND)
