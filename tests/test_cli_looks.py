"""The commands that look inside a model with pictures: activations, backproject, layers, report."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command import call, refused
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import torchattr as ta
from torchattr.models.collage import examples

LOOKS = ("activations", "backproject", "layers")
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
    assert "note: layer stage3: the last spatial one" in result.stderr
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


@pytest.mark.parametrize("command", [*LOOKS, "explain", "report"])
def test_results_go_to_tensorboard_and_a_page_as_well(here, command):
    result = run(command, "--logdir", "log", "--html", "page.html")
    assert result.exit_code == 0, result.output
    log = EventAccumulator("log").Reload()
    assert log.Tags()["images"]
    assert "data:image/png;base64" in Path("page.html").read_text()
    assert "tensorboard --logdir log" in result.stdout
    assert "page.html" in result.stdout


def test_a_report_has_everything(here):
    result = call("report", CAT)
    assert result.exit_code == 0, result.output
    text = Path("torchattr-report.html").read_text()
    for said in (
        "What demo looks at",
        "Multiply-adds",
        "11 relu calls, 11 rewritten",
        "Grad-CAM layer by layer: astronaut",
        "Feature maps of stem.conv",
        "Back-projections of stem.conv",
        "99.7 %",
    ):
        assert said in text, said
    assert not Path("torchattr-out").exists()
    assert text == Path("torchattr-report.html").read_text()
    first = text
    assert call("report", CAT).exit_code == 0
    assert Path("torchattr-report.html").read_text() == first


def test_a_rerun_gives_the_same_bytes(here):
    kept = []
    for _ in range(2):
        assert call("backproject", CAT, "--layer", "stage1", "--top", 3).exit_code == 0
        kept.append({file: (Path("torchattr-out") / file).read_bytes() for file in files()})
    assert kept[0] == kept[1]


@pytest.mark.parametrize("command", LOOKS)
def test_bad_places_and_pictures_are_named(here, command):
    Path("mine.html").write_text("mine")
    Path("empty").mkdir()
    refused(run(command, "--out", "photo.png/x"), "out: nothing can be written to photo.png/x")
    refused(run(command, "--logdir", "photo.png"), "logdir: nothing can be written to photo.png")
    refused(run(command, "--html", "mine.html"), "html: no former run wrote mine.html")
    refused(call(command, "empty"), "empty: no picture directly in this folder")
    refused(run(command, "--backend", "tritn"), "no backend is called 'tritn'")
    refused(run(command, "--layer", "9"), "the model has no layer '9'")


@pytest.mark.parametrize("command", LOOKS)
def test_a_layer_without_places_is_named(here, command):
    refused(
        run(command, "--layer", "4"), "the layer '4' returned (1, 3), so it has no feature maps"
    )


@pytest.mark.parametrize("command", LOOKS)
def test_without_tensorboard_the_way_to_it_is_said(here, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    refused(run(command, "--logdir", "log"), "pip install tensorboard")


@pytest.mark.parametrize("command", LOOKS)
def test_a_foreign_file_is_kept_and_nothing_else_is_written(here, command):
    options = ("--layer", "0", "--layer", "1")
    assert run(command, *options).exit_code == 0
    made = [file for file in files() if file.endswith(".png")]
    for file in files():
        (Path("torchattr-out") / file).unlink()
    mine = Path("torchattr-out") / made[-1]
    mine.write_text("mine")
    result = run(command, *options)
    assert result.exit_code == 2
    assert f"holds {made[-1]}, which no former run wrote" in result.stderr
    assert files() == [made[-1]]
    assert run(command, *options, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("activations", "--channel", "4"), "channel 4 is out of range for the layer"),
        (("activations", "--channel", "1", "--top", "2"), "--channel or --top"),
        (("backproject", "--layer", "1", "--channel", "4"), "channel 4 is out of range"),
        (("backproject", "--channel", "1", "--all"), "--channel, --top and --all"),
        (("backproject", "--start", "middle"), "--start must be max, map, or a place"),
        (("backproject", "--layer", "1", "--start", "99,1"), "(99, 1) is outside"),
        (("backproject", "--rule", "guide"), "--rule must be one of deconvolution, guided"),
        (("backproject", "--rule", "guided", "--rule", "gradient"), "names several ways back"),
        (("layers", "--method", "saliency"), "--method must be grad_cam or guided_grad_cam"),
        (("layers", "--target", "drak"), "did you mean 'dark'?"),
        (("layers", "--target", "3"), "target 3 is out of range"),
        (("report", "--method", "salience"), "did you mean 'saliency'"),
        (("report", "--layer", "4"), "so it has no feature maps"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_written(here, arguments, said):
    refused(run(*arguments), said)
    assert not Path("torchattr-report.html").exists()


def test_a_model_without_places_is_named(here):
    refused(run("backproject", model="models.py:flat"), "name one with --layer")
    refused(run("activations", model="models.py:flat"), "none of these layers has an output")
    refused(run("layers", model="models.py:flat"), "the model has no convolution", "--layer")


@pytest.mark.parametrize("command", LOOKS)
def test_ctrl_c_keeps_what_is_done(here, command, monkeypatch):
    from torchattr.runs import run as pictures

    Image.new("RGB", (40, 30)).save("second.png")
    whole, calls = pictures.read_image, []

    def interrupted(path):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(path)

    monkeypatch.setattr(pictures, "read_image", interrupted)
    result = run(command, "second.png", "--layer", "1", "--html", "page.html")
    assert result.exit_code == 130
    assert "1 of 2 pictures are done and stay in torchattr-out and page.html" in result.stderr
    assert {name.rpartition("/")[2] for name in manifest()} == {"photo"}
    assert "photo" in Path("page.html").read_text()


def test_an_unreadable_picture_is_skipped(here):
    Path("text.jpg").write_text("no picture")
    result = run("activations", "text.jpg", "--html", "page.html")
    assert result.exit_code == 1
    assert "skipped: text.jpg: not a picture" in result.stderr
    assert "text.jpg: not a picture" in Path("page.html").read_text()
    assert len(manifest()) == 1


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


@pytest.mark.parametrize(
    ("model", "without"),
    [("flat", "Feature maps"), ("gelu", "Back-projections"), ("segments", "nothing")],
)
def test_a_report_leaves_out_what_a_model_has_not(here, model, without):
    result = run("report", model=f"models.py:{model}")
    assert result.exit_code == 0, result.output
    text = Path("torchattr-report.html").read_text()
    for title in ("What speaks for each class", "Feature maps", "Back-projections"):
        missing = title == without or (model == "flat" and title == "Back-projections")
        assert (title in text) != missing
    assert ("are left out" in result.stderr) == (model != "segments")
