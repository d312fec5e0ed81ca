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
from torchattr.errors import InputTypeError


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
        (ta.NoiseTunnel(ta.Saliency(Wide())), "NoiseTunnel(Saliency(Wide))"),
        (ta.Saliency(Wide(), output=torch.ones(1000).sum), "Saliency(Wide, output=sum)"),
    ],
)
def test_repr_fits_on_a_line_and_dumps_no_model(method: Any, expected: str) -> None:
    assert repr(method) == expected
