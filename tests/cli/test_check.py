"""The command `check`."""

import json
from pathlib import Path

import numpy as np
import pytest
from command import call, refused
from PIL import Image

FEW = ("--scenes", 2, "--steps", 2, "--method", "saliency")


def records():
    whole = json.loads(Path("torchattr-out/manifest.json").read_text())["pictures"]
    return {path: one["check"] for path, one in whole.items()}


def pictures(count):
    for number in range(count):
        drawn = np.random.default_rng(number).integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(drawn).save(f"drawn-{number}.png")
    return [f"drawn-{number}.png" for number in range(count)]


def relu(*arguments, model="models.py:relu"):
    return call("check", "--model", model, "--steps", 2, *arguments)


def test_the_demo_is_checked_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("check", *FEW, "--method", "attention_rollout", "--html", "page.html")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("method ")
    assert "saliency: " in result.stdout
    assert "similar for another class" in result.stdout
    assert "2 scenes composed" in result.stderr
    assert "attention_rollout is left out: " in result.stderr
    assert "2 samples is too narrow" in result.stderr
    out = Path("torchattr-out")
    with Image.open(out / "check/saliency.png") as figure:
        assert figure.size[0] > 800
    with np.load(out / "check/saliency.npz") as values:
        assert values["random_layers"].shape == (2, 2)
        assert values["noise"].shape == (2,)
    assert "saliency" in (out / "check.txt").read_text()
    assert len(records()["check/saliency"]) == 7
    assert "attention_rollout" in records()["check"]["refused"]
    assert "Check of Saliency" in Path("page.html").read_text()


def test_pictures_classes_and_models_of_the_users(here):
    result = relu(*pictures(3), "--target", "light", "--method", "saliency", "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "scenes" not in result.stderr
    assert records()["check"]["pictures"] == 3


def test_other_models_than_the_demo_are_checked_on_photographs(here):
    result = relu("--method", "saliency")
    assert result.exit_code == 0, result.output
    assert "no images named: checking on the bundled cat, coffee, rocket, camera" in result.stderr
    assert records()["check"]["pictures"] == 4


def test_scenes_are_those_that_are_asked_for(here):
    result = relu("--scenes", 3, "--method", "saliency")
    assert "checking on 3 scenes composed" in result.stderr
    assert records()["check"]["pictures"] == 3
    refused_both = relu("--scenes", 3, "photo.png")
    assert refused_both.exit_code == 2
    assert "--scenes composes pictures, so it does not go with images" in refused_both.stderr


def test_a_single_picture_is_checked_without_intervals(here):
    result = relu(*pictures(1), "--method", "saliency")
    assert result.exit_code == 0, result.output
    assert "a single picture has no interval" in result.stdout
    assert "needs at least two samples" in result.stderr


def test_pictures_that_cannot_be_read_are_skipped(here):
    Path("broken.png").write_text("nothing")
    result = relu(*pictures(2), "broken.png", "--method", "saliency")
    assert result.exit_code == 1, result.output
    assert "skipped: " in result.stderr


def test_a_folder_without_a_readable_picture_is_refused(here):
    Path("broken.png").write_text("nothing")
    refused(relu("broken.png"), "none of the images can be read")


def test_files_of_others_are_refused_before_anything_is_measured(here):
    Path("torchattr-out/check").mkdir(parents=True)
    Path("torchattr-out/check/saliency.png").write_text("mine")
    result = relu("--scenes", 2, "--method", "saliency")
    assert result.exit_code == 2
    assert "which was not created by torchattr" in result.stderr
    assert not result.stdout
    assert Path("torchattr-out/check/saliency.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--method", "salience"), "saliency"),
        (("--method", "attention_rollout"), "no method fits this model"),
        (("--target", "purple"), "purple"),
        (("--rule", "gelu"), "--rule must be OPERATION=RULE"),
        (("--scores", "odds"), "--scores must be one of"),
        (("--layer", "9", "--method", "grad_cam"), "'9'"),
        (("--out", "photo.png/x"), "cannot write to"),
    ],
)
def test_wrong_options_are_named_and_nothing_is_written(here, arguments, said):
    refused(relu("--scenes", 2, *arguments), said)


def test_pictures_of_different_sizes_are_named(here):
    Path("sized.py").write_text(
        "from torch import nn\n"
        "from torchvision.transforms import ToTensor\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.head = nn.Linear(3, 2)\n"
        "    def forward(self, x):\n"
        "        return self.head(x.mean((2, 3)))\n"
        "def net():\n"
        "    return Net(), ToTensor()\n"
    )
    refused(relu("photo.png", *pictures(1), model="sized.py:net"), "must have one size")


@pytest.mark.parametrize("target", ["-1", "3"])
def test_a_target_out_of_range_is_refused_once_and_as_elsewhere(here, target):
    result = call("check", "photo.png", "--model", "models.py:relu", "--target", target)
    refused(result, f"target {target} is out of range for a model with 3 classes; allowed are 0 to")
    assert result.stderr.count("out of range") == 1
    dreamt = call("dream", "--model", "models.py:relu", "--target", target)
    refused(dreamt, f"target {target} is out of range for a model with 3 classes; allowed are 0 to")


def test_options_of_the_methods(here):
    lrp = ("--method", "lrp", "--method", "rise", "--option", "rise.n_masks=8")
    first = relu(*pictures(3), *lrp, "--option", "lrp.composite=zero", "--json")
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    assert found["pictures"] == 3
    assert {one["method"] for one in found["findings"]} == {"lrp", "rise"}
    assert {"model", "device", "versions", "refused"} <= set(found)
    assert Path("torchattr-out/check/lrp.png").exists()
    other = relu(*pictures(3), *lrp, "--json", "--overwrite")
    assert json.loads(other.stdout)["findings"] != found["findings"]


def test_options_that_no_method_has(here):
    refused(relu(*pictures(2), "--option", "n_maskss=3"), "no option 'n_maskss'")
