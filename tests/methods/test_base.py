"""The base classes: subclasses, arguments, and `repr`."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from helpers import assert_same, refused
from rectified import X, by_autograd, network
from torch import Tensor, nn

import torchattr as ta
from torchattr.core import device_faults
from torchattr.errors import DeviceLost, InputError, InputTypeError
from torchattr.methods import registered_methods


class Signs(ta.GradientAttribution):
    """The signs of the guided gradient."""

    rules = {"relu": "guided"}  # noqa: RUF012 - as a user writes it

    def finish(self, inputs: Tensor, grads: Tensor) -> Tensor:
        return grads.sign()


def test_a_method_is_rules_and_a_finish() -> None:
    model = network()
    assert_same(Signs(model).attribute(X, 2), by_autograd(model, 2, "guided").sign())


def test_rules_of_an_object_replace_those_of_its_class() -> None:
    model = network()
    found = Signs(model, rules={"relu": "deconvolution"}).attribute(X, 2)
    assert_same(found, by_autograd(model, 2, "deconvolution").sign())


def test_models_are_modules_or_functions() -> None:
    with refused(InputTypeError, "model", "int"):
        ta.Saliency(3)  # type: ignore[arg-type]


class Wide(nn.Module):
    """A module whose own repr is long."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(200))


def scores(x: Tensor) -> Tensor:
    return x


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (ta.Saliency(Wide()), "Saliency(Wide)"),
        (ta.Saliency(scores, output="logits"), "Saliency(scores, output='logits')"),
        (ta.Saliency(Wide(), output=scores), "Saliency(Wide, output=scores)"),
        (
            ta.GuidedBackprop(Wide(), rules={"gelu": "guided"}, strict=False),
            "GuidedBackprop(Wide, rules={'gelu': 'guided'}, strict=False)",
        ),
        (ta.GradCAM(Wide(), "layers.3"), "GradCAM(Wide, layer='layers.3')"),
        (ta.GradCAM(Wide()), "GradCAM(Wide)"),
        (
            ta.GuidedGradCAM(Wide(), ["layers.3", "layers.1"], calls="sum", layout="tokens"),
            "GuidedGradCAM(Wide, layer=['layers.3', 'layers.1'], calls='sum', layout='tokens')",
        ),
        (ta.LayerActivation(Wide(), nn.Linear), "LayerActivation(Wide, layer=Linear)"),
        (
            ta.LayerActivation(Wide(), [f"layers.{k}" for k in range(200)]),
            "LayerActivation(Wide, layer=['layers.0', 'layers.1', 'layers.2', ...])",
        ),
        (
            ta.GradCAM(Wide(), re.compile("layers.1.*")),
            "GradCAM(Wide, layer=re.compile('layers.1.*'))",
        ),
        (ta.Occlusion(Wide()), "Occlusion(Wide)"),
        (
            ta.IntegratedGradients(Wide(), multiply_by_inputs=False),
            "IntegratedGradients(Wide, multiply_by_inputs=False)",
        ),
        (ta.GradientShap(Wide(), strict=False), "GradientShap(Wide, strict=False)"),
        (ta.NoiseTunnel(ta.Saliency(Wide())), "NoiseTunnel(Saliency(Wide))"),
        (ta.Saliency(Wide(), output=torch.ones(1000).sum), "Saliency(Wide, output=sum)"),
    ],
)
def test_repr_fits_on_a_line_and_dumps_no_model(method: Any, expected: str) -> None:
    assert repr(method) == expected


class Failing(nn.Module):
    """Raises an error in its forward or, `behind` it, in its backward; counts the attempts."""

    def __init__(self, error: Exception, *, behind: bool = False) -> None:
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)
        self.error, self.behind, self.attempts = error, behind, 0

    def forward(self, x: Tensor) -> Tensor:
        self.attempts += not self.behind
        result = self.head(self.layer(x).relu().mean((2, 3)))
        if not self.behind:
            raise self.error
        if result.requires_grad:
            result.register_hook(self._fail)
        return result

    def _fail(self, _: Tensor) -> None:
        self.attempts += 1
        raise self.error


IMAGE = torch.rand(2, 3, 8, 8)
GRADIENTS = {
    "saliency": lambda model, x: ta.Saliency(model).attribute(x, 0),
    "guided": lambda model, x: ta.GuidedBackprop(model).attribute(x, 0),
    "lean": lambda model, x: ta.GuidedBackprop(model, memory="lean").attribute(x, 0),
    "grad_cam": lambda model, x: ta.GradCAM(model, "layer").attribute(x, 0),
    "several": lambda model, x: ta.Saliency(model).attribute(x, ta.Classes([0, 1])),
    "integrated": lambda model, x: ta.IntegratedGradients(model).attribute(x, target=0, n_steps=2),
    "shap": lambda model, x: ta.GradientShap(model).attribute(x, n_samples=2, target=0),
    "noise": lambda model, x: ta.NoiseTunnel(ta.Saliency(model)).attribute(x, target=0),
    "explain": lambda model, x: ta.explain(model, x, ["saliency", "guided_backprop"], 0),
}
FORWARDS = {
    "occlusion": lambda model, x: ta.Occlusion(model).attribute(x, (3, 4, 4), 4, target=0),
    "ablation": lambda model, x: ta.FeatureAblation(model).attribute(x, target=0),
    "rise": lambda model, x: ta.RISE(model).attribute(x, target=0),
    "activation": lambda model, x: ta.LayerActivation(model, "layer").attribute(x),
}
CALLS = GRADIENTS | FORWARDS


@pytest.fixture
def illegal(monkeypatch: pytest.MonkeyPatch) -> RuntimeError:
    """Return what PyTorch raises where a GPU's context is lost."""
    monkeypatch.setattr(device_faults, "_reported", [])
    return RuntimeError("CUDA error: an illegal memory access was encountered\nand more")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_gpu_that_is_lost_in_a_forward_is_named_at_the_first_attempt(
    call: Any, illegal: RuntimeError
) -> None:
    model = Failing(illegal)
    with refused(DeviceLost, "context is lost", "illegal memory access"):
        call(model, IMAGE)
    assert model.attempts == 1


@pytest.mark.parametrize("call", GRADIENTS.values(), ids=GRADIENTS)
def test_a_gpu_that_is_lost_in_a_backward_is_named_at_the_first_attempt(
    call: Any, illegal: RuntimeError
) -> None:
    model = Failing(illegal, behind=True)
    with refused(DeviceLost, "context is lost", "illegal memory access"):
        call(model, IMAGE)
    assert model.attempts == 1


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_unlike_dtype_is_named_at_the_first_attempt(call: Any) -> None:
    model = Failing(RuntimeError("not reached"))
    with refused(InputError, "inputs is torch.float64", "torch.float32"):
        call(model, IMAGE.double())
    assert model.attempts == 1


META = {name: call for name, call in CALLS.items() if name != "ablation"}


@pytest.mark.parametrize("call", META.values(), ids=META)
def test_an_unlike_device_is_named(call: Any) -> None:
    """Ablation is left out: it looks at its inputs' values first, which these have not."""
    model = Failing(RuntimeError("not reached"))
    with refused(InputError, "inputs is on meta", "parameters on cpu", "inputs.to('cpu')"):
        call(model, IMAGE.to("meta"))


def five_classes() -> nn.Module:
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*body, nn.Linear(4, 5)).eval()


BUILT_IN = sorted(
    name
    for name, cls in registered_methods().items()
    if cls.__module__.startswith("torchattr.methods")
)
OF_TOKENS = {"attention_gradient", "attention_rollout", "legrad", "raw_attention"}
"""Methods that need the tokens of an image, also of none."""


@pytest.mark.filterwarnings("ignore::torchattr.errors.TorchattrWarning")
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_picture_without_pixels_is_refused_by_every_method(name: str) -> None:
    method = registered_methods()[name](five_classes())
    for shape in ((1, 3, 0, 0), (2, 3, 0, 8), (0, 3, 8, 0)):
        with refused(InputError, f"inputs of shape {shape} have no elements per example"):
            method.attribute(torch.zeros(shape), target=1)


@pytest.mark.filterwarnings("ignore::torchattr.errors.TorchattrWarning")
@pytest.mark.parametrize("name", sorted({*BUILT_IN} - OF_TOKENS))
def test_an_empty_batch_has_empty_maps(name: str) -> None:
    squares = torch.arange(4).view(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1)
    regions = {"feature_mask": squares} if name == "shapley_values" else {}
    method = registered_methods()[name](five_classes())
    found = method.attribute(torch.zeros(0, 3, 8, 8), target=1, **regions)
    assert found.shape in ((0, 3, 8, 8), (0, 1, 8, 8))
