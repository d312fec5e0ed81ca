"""Tasks are the same for every library, and for every run."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.tasks import LAYERS, TITLES, Task, floor, images, inference, network

CPU = torch.device("cpu")


def test_every_network_has_a_title_and_a_layer() -> None:
    assert TITLES.keys() == LAYERS.keys()


def test_images_are_the_same_in_every_run() -> None:
    assert torch.equal(images(2, 8, CPU), images(2, 8, CPU))
    assert images(2, 8, CPU).shape == (2, 3, 8, 8)


def test_networks_come_with_fitting_statistics_and_in_eval_mode() -> None:
    model = network("resnet18", 32)
    assert not model.training
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(norm.momentum == 0.1 and norm.running_mean.any() for norm in norms)


def test_floor_and_inference_are_the_plain_model() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    given = Task("Saliency", model, images(2, 2, CPU), "", 1)
    expected = model[1].weight[1].view(1, 3, 2, 2).expand(2, -1, -1, -1)
    assert torch.equal(inference(given)(), model(given.images))
    assert torch.allclose(floor(given)(), expected)
