"""Small networks and pictures, so that a case runs within seconds."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models import vgg

from benchmarks import tasks
from benchmarks.cases import prepare, scale
from benchmarks.settings import Settings
from benchmarks.tasks import Subject


def light(name: str, size: int) -> nn.Module:
    """Return ResNet-18 for any network, and the convolutions of VGG-16 with one linear layer."""
    if name != "vgg16":
        return tasks.network("resnet18", size)
    torch.manual_seed(0)
    features = vgg.make_layers(vgg.cfgs["D"])
    for part in features:
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    end = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(512, 1000)}
    return nn.Sequential(OrderedDict(features=features, **end)).eval()


def of(name: str, size: int, device: torch.device) -> Subject:
    name = name if name == "vgg16" else "resnet18"
    return Subject(name, light(name, size), size, device, 7)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks and pictures instead of the real ones."""
    monkeypatch.setattr(Settings, "size", property(lambda self: 64))
    monkeypatch.setattr(Settings, "growth_batches", property(lambda self: (1,)))
    monkeypatch.setattr(prepare, "NETWORKS", ("resnet18",))
    monkeypatch.setattr(scale, "NETWORKS", ("resnet18",))
    monkeypatch.setattr(Subject, "of", of)
