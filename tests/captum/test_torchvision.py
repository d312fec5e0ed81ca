"""The same numbers as Captum's on torchvision's ResNet-18 and VGG-11."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum_parity import SINGLE, assert_parity, calibrated
from helpers import noise, seeded
from torch import nn
from torchvision.models import resnet18
from torchvision.models.vgg import cfgs, make_layers

IMAGES = noise(2, 3, 32, 40)
LAYERS = {"resnet18": "layer3", "vgg11": "features.13"}
METHODS: dict[str, dict[str, Any]] = {
    "Saliency": {},
    "InputXGradient": {},
    "Deconvolution": {},
    "GuidedBackprop": {},
    "IntegratedGradients": {"n_steps": 2},
    "FeatureAblation": {"feature_mask": torch.arange(32).reshape(1, 1, 32, 1) // 8},
    "Occlusion": {"sliding_window_shapes": (3, 16, 20), "strides": (3, 16, 20)},
    "LayerGradCam": {},
    "GuidedGradCam": {"interpolate_mode": "bilinear"},
    "LayerActivation": {},
    "NeuronGuidedBackprop": {"neuron_selector": (5, 1, 1)},
    "NeuronDeconvolution": {"neuron_selector": (5, slice(0, 2), 1)},
}


class VGG11(nn.Module):
    """VGG-11 with torchvision's features and a head that fits into a test's memory."""

    def __init__(self) -> None:
        super().__init__()
        self.features = make_layers(cfgs["A"], batch_norm=True)
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    made = {"resnet18": seeded(resnet18, num_classes=10), "vgg11": seeded(VGG11)}
    return {name: calibrated(model, 8, 3, 32, 40) for name, model in made.items()}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("model", LAYERS)
def test_same_as_captum(model: str, name: str, models: dict[str, nn.Module]) -> None:
    takes_layer = "layer" in name.lower() or "Neuron" in name or name == "GuidedGradCam"
    takes_target = "Neuron" not in name and name != "LayerActivation"
    assert_parity(
        name,
        models[model],
        IMAGES,
        layer=LAYERS[model] if takes_layer else None,
        tolerance=SINGLE if name == "Occlusion" else 1e-10,
        **({"target": [3, 7]} if takes_target else {}),
        **METHODS[name],
    )
