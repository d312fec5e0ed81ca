"""Captum's names: signatures, attributes that scripts use, and whole scripts."""

from __future__ import annotations

import inspect
import warnings

import captum.attr
import pytest
import torch
from captum.attr._utils import lrp_rules
from captum_parity import IMAGES, Sequences, convolutions
from helpers import assert_same, noise, refused, seeded
from sklearn.linear_model import Ridge
from torch import nn

import torchattr
import torchattr.captum
from torchattr.captum.base import CaptumMethod
from torchattr.errors import (
    DisconnectedWarning,
    InputError,
    LayerError,
    NoRuleMatched,
    ShapeError,
)

NAMES = [name for name in dir(torchattr.captum) if name[0].isupper()]
RULES = [name for name in NAMES if "Rule" in name]
METHODS = [
    name
    for name, value in vars(torchattr.captum).items()
    if inspect.isclass(value)
    and issubclass(value, CaptumMethod)
    and name != "DataLoaderAttribution"  # of a loader, not of inputs
]

# Captum's FeatureAblation passes these on to its own subclasses and ignores them otherwise.
IGNORED = {
    ("FeatureAblation", "attribute"): {"kwargs"},
    ("FeaturePermutation", "attribute"): {"kwargs"},
}


def test_these_are_the_names() -> None:
    assert len(METHODS) == 40
    assert all(hasattr(captum.attr, name) for name in METHODS)
    assert all(hasattr(lrp_rules, name) for name in RULES)


@pytest.mark.parametrize("function", ["__init__", "attribute"])
@pytest.mark.parametrize("name", METHODS)
def test_signatures_are_captums(name: str, function: str) -> None:
    ours = _parameters(torchattr.captum, name, function)
    theirs = _parameters(captum.attr, name, function)
    ignored = IGNORED.get((name, function), set())
    expected = [_identity(one) for one in theirs if one.name not in ignored]
    assert [_identity(one) for one in ours[: len(expected)]] == expected
    assert {one.kind for one in ours[len(expected) :]} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("name", RULES)
def test_signatures_of_rules_are_captums(name: str) -> None:
    ours, theirs = (
        _parameters(library, name, "__init__") for library in (torchattr.captum, lrp_rules)
    )
    assert list(map(_identity, ours)) == list(map(_identity, theirs))


def test_interpolate_has_captums_signature() -> None:
    for name in ("LayerAttribution", "LayerGradCam", "LayerActivation"):
        ours = inspect.signature(getattr(torchattr.captum, name).interpolate).parameters
        theirs = inspect.signature(getattr(captum.attr, name).interpolate).parameters
        assert [_identity(p) for p in ours.values()] == [_identity(p) for p in theirs.values()]


@pytest.mark.parametrize("name", METHODS)
def test_properties_are_captums(name: str) -> None:
    model = seeded(Sequences)
    at_layer = ("Layer", "Neuron", "GuidedGradCam", "InternalInfluence")
    layer = [model[1]] if any(one in name for one in at_layer) else []
    ours, theirs = (getattr(library, name) for library in (torchattr.captum, captum.attr))
    assert ours.get_name() == theirs.get_name()
    if name == "NoiseTunnel":
        ours, theirs = (
            (lambda m: torchattr.captum.NoiseTunnel(torchattr.captum.Saliency(m))),
            (lambda m: captum.attr.NoiseTunnel(captum.attr.Saliency(m))),
        )
    if name == "LimeBase":
        layer = [Ridge(), len, len, True, len, None]
    one, other = ours(model, *layer), theirs(model, *layer)
    assert one.has_convergence_delta() == other.has_convergence_delta()
    assert one.multiplies_by_inputs == other.multiplies_by_inputs
    assert one.forward_func is model
    if layer and name != "LimeBase":
        assert one.layer is model[1]


def test_what_a_noise_tunnel_says_is_what_its_method_says() -> None:
    method = torchattr.captum.IntegratedGradients(nn.Linear(2, 2))
    tunnel = torchattr.captum.NoiseTunnel(method)
    assert tunnel.has_convergence_delta()
    assert tunnel.multiplies_by_inputs
    local = torchattr.captum.IntegratedGradients(nn.Linear(2, 2), multiply_by_inputs=False)
    assert not torchattr.captum.NoiseTunnel(local).multiplies_by_inputs


@pytest.mark.parametrize("name", ["LayerGradCam", "GuidedGradCam", "LayerActivation"])
def test_several_devices_are_refused(name: str) -> None:
    model = seeded(Sequences)
    method = getattr(torchattr.captum, name)
    with refused(InputError, "device_ids", "2 devices", "model.module"):
        method(model, model[1], device_ids=[0, 1])
    assert method(model, model[1], device_ids=[0]).device_ids == [0]


def test_grad_kwargs_that_change_nothing_are_taken() -> None:
    model = convolutions()
    method = torchattr.captum.LayerGradCam(model, model.relu2)
    plain = method.attribute(IMAGES, target=2)
    kwargs = {"retain_graph": True, "allow_unused": True, "create_graph": False}
    assert_same(method.attribute(IMAGES, target=2, grad_kwargs=kwargs), plain)
    with refused(InputError, "grad_kwargs", "create_graph"):
        method.attribute(IMAGES, target=2, grad_kwargs={"create_graph": True})


def test_our_keywords_are_there() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 2)))
    x = noise(2, 6, dtype=torch.float32)
    with refused(NoRuleMatched, "rules={'gelu': 'guided'}"):
        torchattr.captum.GuidedBackprop(model).attribute(x, target=1)
    method = torchattr.captum.GuidedBackprop(model, rules={"gelu": "guided"})
    own = torchattr.GuidedBackprop(model, rules={"gelu": "guided"})
    assert_same(method.attribute(x, target=1), own.attribute(x, target=1))


@pytest.mark.filterwarnings("ignore:.*does not depend on tensor 1 of 2")
def test_a_map_for_a_layer_of_several_tensors_is_refused_by_guided_grad_cam() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), _Twice(), _First(), nn.Flatten())
    method = torchattr.captum.GuidedGradCam(model, model[2])
    # The model reads the first of the two only.
    with (
        pytest.warns(DisconnectedWarning, match="tensor 1 of layer '2'"),
        refused(LayerError, "2 tensors"),
    ):
        method.attribute(IMAGES.float(), target=1)


def test_a_map_that_cannot_be_enlarged_is_refused() -> None:
    model = convolutions()
    with refused(ShapeError, "spatial dimensions"):
        torchattr.captum.LayerAttribution.interpolate(noise(2, 1, 4, 4), (8,))
    with refused(ShapeError, "spatial dimensions"):
        torchattr.captum.GuidedGradCam(model, model.head[1]).attribute(IMAGES, target=2)


SCRIPT = """
import torch
from torch import nn
from captum.attr import (
    Deconvolution, FeatureAblation, GuidedBackprop, GuidedGradCam, IntegratedGradients,
    LayerActivation, LayerAttribution, LayerGradCam, NoiseTunnel, Occlusion, Saliency,
)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)
).double().eval()
images = torch.rand(2, 3, 8, 8, dtype=torch.double, requires_grad=True)
classes = model(images).argmax(1)

def show(name, attributions):
    print(name, tuple(attributions.shape), *(f"{v:.4e}" for v in attributions.flatten()[:40:7]))

for method in (Saliency, Deconvolution, GuidedBackprop):
    show(method.__name__, method(model).attribute(images, target=classes))
ig = IntegratedGradients(model)
attributions, delta = ig.attribute(
    images, baselines=0, target=[1, 2], n_steps=20, return_convergence_delta=True
)
show("IntegratedGradients", attributions)
print("delta" if ig.has_convergence_delta() else "none", bool(delta.abs().max() < 1e-3))
cam = LayerGradCam(model, model[3]).attribute(images, target=1)
show("LayerGradCam", cam)
show("enlarged", LayerAttribution.interpolate(cam, (8, 8), "bilinear"))
show("GuidedGradCam", GuidedGradCam(model, model[3]).attribute(images, target=1))
show("LayerActivation", LayerActivation(model, model[1]).attribute(images))
mask = torch.arange(64).reshape(1, 1, 8, 8) // 16
show("FeatureAblation", FeatureAblation(model).attribute(images, target=1, feature_mask=mask))
show("Occlusion", Occlusion(model).attribute(images, (3, 4, 4), strides=(3, 4, 4), target=1))
torch.manual_seed(1)
show("NoiseTunnel", NoiseTunnel(Saliency(model)).attribute(
    images, nt_type="smoothgrad_sq", nt_samples=3, stdevs=0.1, target=1
))
"""


def test_a_script_moves_by_changing_its_import(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(SCRIPT, "script", "exec"), {})
    theirs = capsys.readouterr().out
    moved = SCRIPT.replace("from captum.attr import", "from torchattr.captum import")
    assert moved != SCRIPT
    exec(compile(moved, "script", "exec"), {})
    assert capsys.readouterr().out == theirs
    assert len(theirs.splitlines()) == 12


class _Twice(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, 2 * x


class _First(nn.Module):
    def forward(self, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return pair[0]


def _parameters(library: object, name: str, function: str) -> list[inspect.Parameter]:
    method = getattr(getattr(library, name), function)
    return list(inspect.signature(method).parameters.values())


def _identity(parameter: inspect.Parameter) -> tuple[str, object, object]:
    default = parameter.default
    return parameter.name, parameter.kind, getattr(default, "__name__", default)
