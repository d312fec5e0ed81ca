"""The same numbers as Captum's: Grad-CAM, guided Grad-CAM, layer activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import captum.attr
import pytest
import torch
from captum_parity import (
    FEATURES,
    IMAGES,
    SIGNALS,
    Segmentation,
    Sequences,
    TwoInputs,
    Values,
    assert_parity,
    convolutions,
)
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

import torchattr.captum

TARGETS = [2, (2,), torch.tensor(2), torch.tensor([2]), torch.tensor([2, 1, 4]), [2, 1, 4]]
TARGETS_OF_PLACES = [(1, 2, 3), [(1, 2, 3), (0, 11, 7), (3, 0, 0)]]
ARGUMENTS = [None, noise(3, 5), (noise(3, 5), False), (None, False)]
FLAGS = [
    {},
    {"relu_attributions": True},
    {"attr_dim_summation": False},
    {"relu_attributions": True, "attr_dim_summation": False},
    {"grad_kwargs": {"retain_graph": True}},
]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return convolutions()


def function(module: nn.Module) -> Callable[..., Tensor]:
    """Wrap a model in a function, which hides its modules."""
    return lambda *inputs: 2 * module(*inputs)


@pytest.mark.parametrize("target", [*TARGETS, [(2,), (1,), (4,)]], ids=repr)
@pytest.mark.parametrize("name", ["LayerGradCam", "GuidedGradCam"])
def test_every_form_of_target(name: str, target: Any, model: nn.Module) -> None:
    assert_parity(name, model, IMAGES, layer="relu2", target=target)


@pytest.mark.parametrize("target", TARGETS_OF_PLACES, ids=repr)
@pytest.mark.parametrize("name", ["LayerGradCam", "GuidedGradCam"])
def test_every_form_of_target_of_a_dense_output(name: str, target: Any) -> None:
    assert_parity(name, seeded(Segmentation).double(), IMAGES, layer="1", target=target)


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("layer", ["conv1", "norm", "relu1", "pool", "conv2", "relu2", "head.1"])
def test_flags(layer: str, of_input: bool, flags: dict[str, Any], model: nn.Module) -> None:
    assert_parity(
        "LayerGradCam",
        model,
        IMAGES,
        layer=layer,
        target=2,
        attribute_to_layer_input=of_input,
        **flags,
    )


@pytest.mark.parametrize("column", [False, True])
def test_one_value_for_each_example(column: bool) -> None:
    model = seeded(Values, column=column).double()
    assert_parity("LayerGradCam", model, FEATURES, layer="layers.1")
    assert_parity("LayerGradCam", model, FEATURES, layer="layers.1", attr_dim_summation=False)


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("name", ["LayerGradCam", "GuidedGradCam"])
def test_signals(name: str, of_input: bool) -> None:
    model = seeded(Sequences).double()
    options = {"target": [2, 2, 1], "attribute_to_layer_input": of_input}
    assert_parity(name, model, SIGNALS, layer="3", **options)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=["none", "tensor", "both", "flag"])
@pytest.mark.parametrize("layer", ["both", "images.relu2", "features.1"])
def test_two_inputs_and_further_arguments(layer: str, arguments: Any) -> None:
    assert_parity(
        "LayerGradCam",
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        layer=layer,
        target=[2, 1, 4],
        additional_forward_args=arguments,
    )


@pytest.mark.parametrize("of_input", [False, True])
def test_a_layer_of_two_tensors(of_input: bool) -> None:
    maps = assert_parity(
        "LayerGradCam",
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        layer="both",
        target=1,
        attr_dim_summation=False,
        attribute_to_layer_input=of_input,
    )
    assert isinstance(maps, tuple)
    assert len(maps) == 2


def test_a_layer_of_one_tensor_in_a_tuple() -> None:
    """Captum unpacks it, also before passing it to a neuron selector."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), _InTuple(), _Out(), nn.Flatten())
    model = seeded(lambda: model).double()
    assert_parity("LayerGradCam", model, IMAGES, layer="2", target=17)
    assert_parity("LayerActivation", model, IMAGES, layer="2")
    assert_parity(
        "NeuronGuidedBackprop", model, IMAGES, layer="2", neuron_selector=lambda v: v[:, 1, 2, 3]
    )


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area", "nearest-exact"])
def test_guided_grad_cam_enlarged(mode: str, of_input: bool, model: nn.Module) -> None:
    options = {"interpolate_mode": mode, "attribute_to_layer_input": of_input}
    assert_parity("GuidedGradCam", model, IMAGES, layer="relu2", target=2, **options)


def test_guided_grad_cam_of_two_inputs() -> None:
    """Both inputs have a size that the layer's map may be enlarged to."""
    assert_parity("GuidedGradCam", _Pair().double().eval(), (IMAGES, IMAGES + 1), layer="conv")


@pytest.mark.parametrize("name", ["LayerGradCam", "LayerActivation"])
def test_a_plain_function(name: str, model: nn.Module) -> None:
    options = {"target": 2} if name == "LayerGradCam" else {}
    assert_parity(name, model, IMAGES, layer="relu2", wrap=function, **options)


@pytest.mark.parametrize("wrap", [lambda module: module, function], ids=["module", "function"])
@pytest.mark.parametrize("of_input", [False, True])
def test_activations_of_several_layers(of_input: bool, wrap: Any, model: nn.Module) -> None:
    layers = ["relu2", "conv1", "conv2"]
    options = {"layer": layers, "wrap": wrap, "attribute_to_layer_input": of_input}
    assert len(assert_parity("LayerActivation", model, IMAGES, **options)) == 3


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=["none", "tensor", "both", "flag"])
@pytest.mark.parametrize("of_input", [False, True])
def test_activations_of_two_inputs(of_input: bool, arguments: Any) -> None:
    assert_parity(
        "LayerActivation",
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        layer="both",
        additional_forward_args=arguments,
        attribute_to_layer_input=of_input,
    )


def test_activations_do_not_ask_which_output_holds_the_scores() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), _Pairs())).double()
    assert_parity("LayerActivation", model, FEATURES, layer="1")


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("size", [(9, 7), 11])
def test_interpolation(size: Any, mode: str) -> None:
    ours, theirs = (
        library.LayerAttribution.interpolate(noise(2, 3, 4, 5), size, mode)
        for library in (torchattr.captum, captum.attr)
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5, 2)])
def test_interpolation_in_other_dimensions(shape: tuple[int, ...]) -> None:
    mode = {3: "linear", 5: "trilinear"}[len(shape)]
    ours, theirs = (
        library.LayerGradCam.interpolate(noise(*shape), 6, interpolate_mode=mode)
        for library in (torchattr.captum, captum.attr)
    )
    assert_same(ours, theirs)


class _InTuple(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x.sin(),)


class _Out(nn.Module):
    def forward(self, values: tuple[Tensor]) -> Tensor:
        return values[0]


class _Pairs(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"first": x, "second": -x}


class _Pair(nn.Module):
    """One value for each example of two images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = seeded(nn.Conv2d, 6, 4, 3, stride=2)
        self.relu = nn.ReLU()

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.relu(self.conv(torch.cat([left, right], dim=1))).sum((1, 2, 3))


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool", "relu2", "head.1"])
def test_gradient_times_activation(layer: str, of_input: bool, model: nn.Module) -> None:
    for by_inputs in (True, False):
        assert_parity(
            "LayerGradientXActivation",
            model,
            IMAGES,
            layer=layer,
            target=[2, 1, 4],
            attribute_to_layer_input=of_input,
            multiply_by_inputs=by_inputs,
        )


def test_gradient_times_activation_of_several_layers(model: nn.Module) -> None:
    options: dict[str, Any] = {"layer": ["relu1", "head.1"], "target": 2}
    found = assert_parity("LayerGradientXActivation", model, IMAGES, **options)
    assert isinstance(found, list)
    layers = [model.get_submodule(name) for name in options["layer"]]
    method = torchattr.captum.LayerGradientXActivation(model, layers, memory_efficient=True)
    for one, other in zip(method.attribute(IMAGES, target=2), found, strict=True):
        assert one.device.type == "cpu"
        assert_same(one, other)


def test_gradient_times_activation_of_two_tensors() -> None:
    assert_parity(
        "LayerGradientXActivation",
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        layer="both",
        target=1,
    )
