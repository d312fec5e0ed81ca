"""The command `layers`: the list, and the maps of every layer."""

import json
from pathlib import Path

import numpy as np
from command import call, refused

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


def test_layers_with_a_picture_are_a_grid_for_each_class_and_method(here):
    result = call("layers", CAT, "--target", "cat", "--target", "astronaut")
    assert result.exit_code == 0, result.output
    groups = {name.rpartition("/")[0] for name in manifest()}
    assert groups == {
        f"layers/{method}/{name}"
        for method in ("grad_cam", "guided_grad_cam")
        for name in ("cat", "astronaut")
    }
    model, x = demo_input()
    expected = ta.layer_by_layer(model, x, target=1)
    found = arrays("torchattr-out/layers/grad_cam/cat/astronaut_cat.npz")
    assert list(found) == list(expected)
    np.testing.assert_array_equal(found["stage2.1.conv2"], expected["stage2.1.conv2"][0].numpy())


def test_layers_without_a_picture_are_listed(here):
    assert "stage3" in call("layers").stdout
    assert not Path("torchattr-out").exists()


def test_classes_whose_names_are_no_file_names_do_not_collide(here):
    result = run("layers", "--target", "[red]", "--target", "dark", "--method", "grad_cam")
    assert result.exit_code == 0, result.output
    assert "layers/grad_cam/_red_/photo.png" in files()


def test_a_model_without_places_is_named(here):
    refused(run("backproject", model="models.py:flat"), "name one with --layer")
    refused(run("activations", model="models.py:flat"), "none of these layers has an output")
    refused(run("layers", model="models.py:flat"), "the model has no convolution", "--layer")


def test_layers_are_listed_and_the_default_is_marked(here):
    lines = call("layers", "--model", "demo").stdout.splitlines()
    marked = [line for line in lines if "default for --layer" in line]
    assert len(marked) == 1
    assert marked[0].startswith("stage3 ")
    assert "1 × 96 × 16 × 16" in marked[0]
    assert any(line.startswith("  stage3.0 ") for line in lines)
    shallow = call("layers", "--model", "demo", "--depth", 1).stdout.splitlines()
    assert len(shallow) < len(lines)
    assert "no model" in call("layers", "--model", "torchvision:nothing").stderr


def test_the_list_as_json(here):
    result = call("layers", "--model", "models.py:relu", "--depth", 1, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["input"] == [1, 3, 32, 32]
    assert found["model"] == "models.py:relu"
    first, *_ = found["layers"]
    assert first["name"] == "0"
    assert first["shape"] == [1, 4, 30, 30]
    assert [one["name"] for one in found["layers"] if one["default"]] == ["1"]
    refused(run("layers", "--json"), "--json is for the list of layers")
