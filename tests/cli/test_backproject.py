"""The command `backproject`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import call, refused

import torchattr as ta
from torchattr.models.collage import examples

CAT = examples()[0].path


def run(command, *arguments, model="models.py:relu"):
    return call(command, "photo.png", "--model", model, *arguments)


def arrays(path):
    with np.load(path) as found:
        return dict(found)


def manifest(out="torchattr-out"):
    return json.loads((Path(out) / "manifest.json").read_text())["pictures"]


def demo_input():
    loaded = ta.models.load_model("demo")
    return loaded.model, loaded.preprocess(ta.models.read_image(CAT)).tensor[None]


@pytest.mark.parametrize("rule", ["deconvolution", "guided", "gradient"])
@pytest.mark.parametrize("start", ["max", "map", "3,5"])
def test_back_projections_are_those_of_the_library(here, rule, start):
    options = ("--layer", "stage2", "--channel", 7, "--rule", rule, "--start", start)
    result = call("backproject", CAT, *options)
    assert result.exit_code == 0, result.output
    model, x = demo_input()
    place = (3, 5) if start == "3,5" else start
    expected = ta.back_project(model, x, "stage2", 7, place, rule)
    found = arrays("torchattr-out/back-projections/stage2/astronaut_cat.npz")
    np.testing.assert_array_equal(found["pictures"], expected.pictures[0].numpy())
    assert found["pictures"].any()
    entry = manifest()["back-projections/stage2/astronaut_cat"]
    assert entry["rule"] == rule
    assert entry["start"] == (list(place) if start == "3,5" else start)


def test_the_last_layer_is_projected_back_by_default_and_named(here):
    result = call("backproject", CAT, "--crop")
    assert result.exit_code == 0, result.output
    assert "using --layer stage3, the last spatial one" in result.stderr
    assert len(manifest()["back-projections/stage3/astronaut_cat"]["channels"]) == 9


def test_functional_operations_and_single_calls_are_projected_back(here):
    layers = ("--layer", "stage2.0.relu#1", "--layer", "stage1.0.relu#2")
    assert call("backproject", CAT, *layers, "--top", 2).exit_code == 0
    assert {name.split("/")[1] for name in manifest()} == {"stage2.0.relu_1", "stage1.0.relu_2"}


def test_fewer_maps_than_asked_for_are_all_of_them(here):
    assert run("backproject", "--layer", "1").exit_code == 0
    assert len(manifest()["back-projections/1/photo"]["channels"]) == 4
    assert run("backproject", "--layer", "1", "--all").exit_code == 0


def test_a_rule_opts_an_activation_in(here):
    result = run("backproject", "--layer", "1", model="models.py:gelu")
    refused(result, "--rule gelu=deconvolution")
    rules = ("--rule", "guided", "--rule", "gelu=guided")
    assert run("backproject", "--layer", "1", *rules, model="models.py:gelu").exit_code == 0


def test_back_projection_of_an_operation_is_that_of_the_same_layer():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 4, 3)

    class Functional(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv

        def forward(self, x):
            return self.conv(x).relu()

    x = torch.rand(2, 3, 8, 8)
    expected = ta.back_project(torch.nn.Sequential(conv, torch.nn.ReLU()), x, "1", start="map")
    found = ta.back_project(Functional(), x, "relu", start="map")
    assert torch.equal(found.pictures, expected.pictures)
    assert found.pictures.any()
