"""The scene of a panel: its class, scores and default layer."""

from __future__ import annotations

import pytest
import torch
from asking import CAT, PATH
from helpers import assert_same, refused
from torch import nn

import torchattr as ta
from torchattr.errors import LayerError, TargetError
from torchattr.models import LoadedModel, read_image
from torchattr.runs import ScoreReader
from torchattr.web import Scene


def scene_of(loaded: LoadedModel, target: int | None = None) -> Scene:
    return Scene(loaded, ScoreReader(loaded), loaded.preprocess(read_image(PATH)), target)


def test_the_predicted_class_is_the_default(demo: LoadedModel) -> None:
    assert scene_of(demo).class_name == "astronaut"
    assert (scene_of(demo, CAT).chosen, scene_of(demo, CAT).class_name) == (CAT, "cat")


@pytest.mark.parametrize("target", [-1, 8])
def test_a_class_out_of_range_is_named(demo: LoadedModel, target: int) -> None:
    with refused(TargetError, f"class {target}", "0 to 7"):
        _ = scene_of(demo, target).chosen


def test_scores_and_default_layer_are_those_of_the_library(demo: LoadedModel) -> None:
    scene = scene_of(demo)
    expected = demo.probabilities(demo.model(scene.inputs))[0]
    assert_same(scene.answer.probabilities, expected.detach(), 1e-6)
    assert scene.default_layer == "stage3"


def test_a_model_without_spatial_layers_has_no_default_layer(demo: LoadedModel) -> None:
    flat = LoadedModel("flat", nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), demo.transform)
    with torch.no_grad():
        flat.model(torch.zeros(1, 3, 128, 128))
    with pytest.raises(LayerError):
        _ = scene_of(flat).default_layer


def test_a_method_explains_the_chosen_class(demo: LoadedModel) -> None:
    scene = scene_of(demo, CAT)
    found = scene.explain("saliency")["saliency"]
    expected = ta.Saliency(demo.model).attribute(scene.inputs, CAT)
    assert_same(found[:, 0], expected, 1e-5)
