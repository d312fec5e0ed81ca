"""Maps by Quantus' names, and what can be passed to explain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from asked import X, Y, model
from helpers import assert_same, refused
from torch import Tensor

import torchattr as ta
from torchattr.core.targets import Classes
from torchattr.errors import InputError, InputTypeError
from torchattr.quantus import explain
from torchattr.quantus.explained import Explained
from torchattr.quantus.normalising import Normalising

x, y = torch.from_numpy(X), torch.from_numpy(Y)
NET = model()
ZEROS = torch.zeros_like(x)
BY_CLASS: dict[str, Any] = {
    "Gradient": lambda: ta.Saliency(NET).attribute(x, y, abs=False),
    "Saliency": lambda: ta.Saliency(NET).attribute(x, y),
    "InputXGradient": lambda: ta.InputXGradient(NET).attribute(x, y),
    "IntegratedGradients": lambda: ta.IntegratedGradients(NET).attribute(
        x, ZEROS, y, n_steps=10, method="riemann_trapezoid"
    ),
    "DeepLift": lambda: ta.DeepLift(NET).attribute(x, ZEROS, y),
    "Deconvolution": lambda: ta.Deconvolution(NET).attribute(x, y),
    "FeatureAblation": lambda: ta.FeatureAblation(NET).attribute(x, target=y),
    "Occlusion": lambda: ta.Occlusion(NET).attribute(x, (1, 4, 4), target=y),
    "LRP": lambda: ta.LRP(NET).attribute(x, y),
    "guided_backprop": lambda: ta.GuidedBackprop(NET).attribute(x, y),
}


@pytest.mark.parametrize("name", BY_CLASS)
def test_names_are_those_of_the_classes(name: str) -> None:
    found = explain(NET, x, y, method=name)
    assert_same(found, BY_CLASS[name]().sum(1, keepdim=True).detach(), 1e-9)
    array = explain(NET, X, Y, method=name)
    assert isinstance(array, np.ndarray)
    assert_same(torch.from_numpy(array), found, 1e-9)
    whole = explain(NET, x, y, method=name, reduce_axes=())
    assert_same(whole.sum(1), explain(NET, x, y, method=name, keepdims=False), 1e-9)


def test_layers_and_sizes() -> None:
    small = explain(NET, x, y, method="LayerGradCam", gc_layer="2")
    assert_same(small, ta.GradCAM(NET, layer="2").attribute(x, y), 1e-9)
    large = explain(NET, x, y, method="LayerGradCam", gc_layer="2", interpolate=(8, 8))
    assert large.shape == (4, 1, 8, 8)


def test_controls() -> None:
    constant = explain(NET, x, y, method="Control Var. Constant", constant_value=2.0)
    assert constant.unique().tolist() == [6.0]
    random = explain(NET, x, y, method="Control Var. Random Uniform")
    assert torch.equal(random, explain(NET, x, y, method="Control Var. Random Uniform"))
    assert len(random.unique()) == random.numel()


def test_unknown_names_are_refused() -> None:
    with refused(InputError, "'Salency'", "Saliency"):
        explain(NET, x, y, method="Salency")
    with refused(InputError, "zennit", "torchattr.LRP"):
        explain(NET, x, y, xai_lib="zennit")


def test_several_classes_are_explained_one_after_another() -> None:
    def product(model: Any, inputs: Tensor, targets: Tensor) -> Tensor:
        return ta.InputXGradient(model).attribute(inputs, targets)

    method = Explained(NET, product, {}, Normalising(), False)
    found = method.attribute(x, Classes([1, 3]))
    for k, number in enumerate((1, 3)):
        assert_same(found[:, k], ta.InputXGradient(NET).attribute(x, number), 1e-12)
    assert_same(method.attribute(x, 1, ()), found[:, 0])
    with refused(InputTypeError, "no other arguments"):
        method.attribute(x, 1, (2,))
