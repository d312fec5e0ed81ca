"""The same numbers as Captum's: conductance, influence, and path methods at layers."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import captum.attr
import pytest
import torch
from captum_parity import (
    FEATURES,
    IMAGES,
    SINGLE,
    Sequences,
    TwoInputs,
    assert_alike,
    assert_parity,
    convolutions,
)
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr.captum
from torchattr.errors import DisconnectedError, InputError

PATHS = ["LayerConductance", "InternalInfluence", "LayerIntegratedGradients"]
WITH_DELTA = ["LayerConductance", "LayerIntegratedGradients"]
START = noise(3, 3, 12, 8, seed=3)
RULES = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return convolutions()


def tolerance(name: str) -> float:
    """Captum's conductance has no weights that it could round to float32."""
    return 1e-10 if name == "LayerConductance" else SINGLE


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("layer", ["conv1", "norm", "relu1", "pool", "conv2", "relu2", "head.1"])
@pytest.mark.parametrize("name", PATHS)
def test_layers(name: str, layer: str, of_input: bool, model: nn.Module) -> None:
    assert_parity(
        name,
        model,
        IMAGES,
        layer=layer,
        tolerance=tolerance(name),
        baselines=START,
        target=[2, 1, 4],
        n_steps=9,
        attribute_to_layer_input=of_input,
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", PATHS)
def test_rules(name: str, rule: str, model: nn.Module) -> None:
    options: dict[str, Any] = {"layer": "relu2", "target": 2, "n_steps": 5, "method": rule}
    # The points of the others are float32 in Captum.
    allowed = tolerance(name) if rule == "gausslegendre" else SINGLE
    assert_parity(name, model, IMAGES, tolerance=allowed, baselines=0.3, **options)


@pytest.mark.parametrize("name", WITH_DELTA)
def test_deltas(name: str, model: nn.Module) -> None:
    options: dict[str, Any] = {"target": 2, "n_steps": 5, "return_convergence_delta": True}
    for layer in ("conv1", "relu2"):
        # The deltas are small differences of rounded numbers.
        one, other = (
            _run(library, name, model, layer, options)
            for library in (torchattr.captum, captum.attr)
        )
        assert_alike(one[0], other[0].detach(), tolerance(name))
        assert float((one[1] - other[1]).abs().max()) < 1e-7


def _run(library: Any, name: str, model: nn.Module, layer: str, options: dict[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = getattr(library, name)(model, model.get_submodule(layer))
        return method.attribute(IMAGES.clone(), START, **options)


@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize("name", PATHS)
def test_internal_batches(name: str, size: int, model: nn.Module) -> None:
    options: dict[str, Any] = {"layer": "relu2", "target": 2, "n_steps": 5}
    assert_parity(
        name, model, IMAGES, tolerance=tolerance(name), internal_batch_size=size, **options
    )


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("name", PATHS)
def test_a_layer_of_two_tensors(name: str, of_input: bool) -> None:
    found = assert_parity(
        name,
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        layer="both",
        tolerance=tolerance(name),
        target=1,
        n_steps=5,
        additional_forward_args=(noise(3, 5), False),
        attribute_to_layer_input=of_input,
    )
    assert isinstance(found, tuple)
    assert len(found) == 2


def test_several_layers_of_integrated_gradients() -> None:
    found = assert_parity(
        "LayerIntegratedGradients",
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        layer=["images.relu2", "features.0"],
        tolerance=SINGLE,
        target=1,
        n_steps=5,
    )
    assert isinstance(found, list)


def test_without_the_factor(model: nn.Module) -> None:
    assert_parity(
        "LayerIntegratedGradients",
        model,
        IMAGES,
        layer="conv2",
        tolerance=SINGLE,
        target=2,
        multiply_by_inputs=False,
    )


def test_captums_trapezoids_lack_one_step(model: nn.Module) -> None:
    options: dict[str, Any] = {"target": 2, "n_steps": 9, "method": "riemann_trapezoid"}
    for name in ("InternalInfluence", "LayerIntegratedGradients"):
        ours = _run(torchattr.captum, name, model, "conv2", options)
        theirs = _run(captum.attr, name, model, "conv2", options)
        assert_same(ours, theirs.detach() * 9 / 8, SINGLE)


class Chained(nn.Module):
    """Calls one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.layer(x).tanh()).tanh())


@pytest.mark.filterwarnings("ignore:layer .* was called 2 times")
def test_captum_replaces_every_call_of_a_layer_by_the_last() -> None:
    """Ours varies the call that counts alone, so that the sum is that call's part."""
    model = seeded(Chained).double()

    def sums(library: Any) -> Tensor:
        method = library.LayerIntegratedGradients(model, model.layer)
        found, delta = method.attribute(
            FEATURES, target=1, n_steps=200, return_convergence_delta=True
        )
        assert found.shape == (3, 6)
        return delta

    assert float(sums(torchattr.captum).abs().max()) < 1e-10
    assert float(sums(captum.attr).abs().max()) < 1e-5


def test_gradient_shap_of_one_baseline_is_captums_in_a_linear_model() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))).double()
    for by_inputs in (True, False):
        assert_parity(
            "LayerGradientShap",
            model,
            FEATURES,
            layer="0",
            baselines=noise(1, 6, seed=8),
            target=[2, 1, 3],
            multiply_by_inputs=by_inputs,
        )


def test_gradient_shap_is_drawn_from_pytorchs_generator() -> None:
    model = seeded(Sequences).double()
    method = torchattr.captum.LayerGradientShap(model, model[2])
    signals, rows = noise(3, 2, 12), noise(5, 2, 12, seed=5)

    def drawn(manual: int, **options: Any) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(manual)
            return method.attribute(signals, rows, target=1, **options)

    assert_same(drawn(0), drawn(0))
    assert not torch.allclose(drawn(0), drawn(1))
    maps, delta = drawn(0, return_convergence_delta=True)
    assert maps.shape == (3, 6, 4)
    assert delta.shape == (15,)


class Spare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.spare(x)
        return self.used(x)


OF_GRAD_KWARGS = [
    "LayerConductance",
    "InternalInfluence",
    "LayerIntegratedGradients",
    "LayerDeepLift",
    "LayerGradCam",
    "LayerGradientXActivation",
    "NeuronConductance",
]


@pytest.mark.parametrize("name", OF_GRAD_KWARGS)
def test_zeros_for_a_layer_that_is_not_used(name: str) -> None:
    model = seeded(Spare).double()
    method = getattr(torchattr.captum, name)(model, model.spare)
    given = (FEATURES, 1) if name == "NeuronConductance" else (FEATURES,)
    found = method.attribute(*given, target=1, grad_kwargs={"materialize_grads": True})
    assert found.numel()
    assert torch.equal(found, torch.zeros_like(found))
    if name != "LayerConductance":  # Captum does not hand them on there
        theirs = getattr(captum.attr, name)(model, model.spare)
        like = theirs.attribute(*given, target=1, grad_kwargs={"materialize_grads": True})
        assert found.shape == like.shape
        assert not like.any()
    with refused(InputError, "grad_kwargs", "create_graph"):
        method.attribute(*given, target=1, grad_kwargs={"create_graph": True})
    with refused(DisconnectedError):
        method.attribute(*given, target=1)


def test_those_that_take_grad_kwargs() -> None:
    classes = {
        name: getattr(torchattr.captum, name)
        for name in captum.attr.__all__
        if hasattr(torchattr.captum, name)
    }
    taking = [
        name
        for name, one in classes.items()
        if "grad_kwargs" in inspect.signature(getattr(one, "attribute", len)).parameters
    ]
    assert sorted(taking) == sorted(OF_GRAD_KWARGS)


@pytest.mark.parametrize("name", [*PATHS, "LayerGradientShap"])
def test_devices(name: str) -> None:
    model = seeded(Sequences)
    method = getattr(torchattr.captum, name)
    assert method(model, model[1], [0]).device_ids == [0]
    with refused(InputError, "device_ids", "2 devices"):
        method(model, model[1], [0, 1])
