"""The command `activations`."""

import json
from pathlib import Path

import numpy as np
from command import call

import torchattr as ta
from torchattr.models.collage import examples

CAT = examples()[0].path


def run(command, *arguments, model="models.py:relu"):
    return call(command, "photo.png", "--model", model, *arguments)


def files(out="torchattr-out"):
    found = (path.relative_to(out).as_posix() for path in Path(out).rglob("*") if path.is_file())
    return sorted(found)


def arrays(path):
    with np.load(path) as found:
        return dict(found)


def manifest(out="torchattr-out"):
    return json.loads((Path(out) / "manifest.json").read_text())["pictures"]


def demo_input():
    loaded = ta.models.load_model("demo")
    return loaded.model, loaded.preprocess(ta.models.read_image(CAT)).tensor[None]


def test_activations_are_those_of_the_library(here):
    result = call("activations", CAT, "--layer", "stem.relu", "--layer", "stage1.0.relu#2")
    assert result.exit_code == 0, result.output
    assert files() == [
        "activations/stage1.0.relu_2/astronaut_cat.npz",
        "activations/stage1.0.relu_2/astronaut_cat.png",
        "activations/stem.relu/astronaut_cat.npz",
        "activations/stem.relu/astronaut_cat.png",
        "manifest.json",
    ]
    model, x = demo_input()
    maps = ta.feature_maps(model, x, "stage1.0.relu#2")["stage1.0.relu#2"]
    found = arrays("torchattr-out/activations/stage1.0.relu_2/astronaut_cat.npz")
    np.testing.assert_array_equal(found["maps"], maps[0].numpy())
    assert found["channels"].tolist() == list(range(32))
    entry = manifest()["activations/stem.relu/astronaut_cat"]
    assert entry["layer"] == "stem.relu"
    assert entry["shape"] == [32, 64, 64]
    assert entry["settings"]["layers"] == ["stem.relu", "stage1.0.relu#2"]


def test_chosen_and_strongest_activations(here):
    chosen = ("--channel", 3, "--channel", 1)
    assert call("activations", CAT, "--layer", "stem.relu", *chosen).exit_code == 0
    path = "torchattr-out/activations/stem.relu/astronaut_cat.npz"
    assert arrays(path)["channels"].tolist() == [3, 1]
    assert call("activations", CAT, "--layer", "stem.relu", "--top", 2).exit_code == 0
    model, x = demo_input()
    strongest = ta.feature_maps(model, x, "stem.relu").strongest("stem.relu", 2)
    assert arrays(path)["channels"].tolist() == strongest


def test_every_relu_with_places_is_shown_by_default(here):
    assert run("activations").exit_code == 0
    assert "activations/1/photo.png" in files()
