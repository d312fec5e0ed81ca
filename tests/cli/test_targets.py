"""Targets of the command that are functions of the output."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import call
from PIL import Image


@pytest.fixture
def regions(here: Path) -> Path:
    from region_models import CODE, picture

    (here / "regions.py").write_text(CODE)
    picture().save(here / "both.png")
    return here


def run(model: str, *targets: str, command: str = "explain") -> object:
    options = [text for target in targets for text in ("--target", target)]
    methods = ("--method", "saliency", "--method", "feature_ablation")
    return call(command, "both.png", "--model", f"regions.py:{model}", *methods, *options)


def entry() -> dict:
    return json.loads(Path("torchattr-out/manifest.json").read_text())["pictures"]["both"]


def maps() -> np.ndarray:
    with np.load("torchattr-out/both.npz") as arrays:
        return np.abs(arrays["saliency"]).sum(1)


def test_segments_masks_and_classes_of_a_segmentation(regions):
    drawn = Image.new("L", (64, 32))
    drawn.paste(255, (0, 0, 32, 32))
    drawn.save("left.png")
    result = run("segmenter", "segment:red", "mask:left.png,red", "green")
    assert result.exit_code == 0, result.output
    names = [target["name"] for target in entry()["targets"]]
    assert names == ["segment: red", "mask: red", "green"]
    red, left, green = maps()
    assert red[:, :16].any()
    assert not red[:, 16:].any()
    assert left[:, :16].any()
    assert not left[:, 16:].any()
    assert green[:, 16:].any()


def test_boxes_of_a_detector(regions):
    result = run("detector", "box:red", "box:green,36,4,60,28", "green")
    assert result.exit_code == 0, result.output
    names = [target["name"] for target in entry()["targets"]]
    assert names == ["box: red", "box: green", "green"]
    red, green, same = maps()
    assert red[:, :16].any()
    assert not red[:, 16:].any()
    assert green[:, 16:].any()
    np.testing.assert_allclose(green, same, atol=1e-6)


def test_the_classes_of_a_detector_need_no_target(regions):
    result = run("detector")
    assert result.exit_code == 0, result.output
    assert {target["name"] for target in entry()["targets"]} <= {"red", "green"}
    assert "best detection" in result.stderr


def test_differences_and_probabilities_of_classes(here):
    Image.new("RGB", (64, 32), "red").save("both.png")
    methods = ("--method", "saliency", "--target", "difference:dark,light")
    options = (*methods, "--target", "probability:dark", "--scores", "softmax")
    result = call("explain", "both.png", "--model", "models.py:relu", *options)
    assert result.exit_code == 0, result.output
    names = [target["name"] for target in entry()["targets"]]
    assert names == ["dark rather than light", "probability: dark"]


def test_a_report_shows_classes_alone_layer_by_layer(regions):
    result = run("segmenter", "segment:red", command="report")
    assert result.exit_code == 0, result.output
    assert "segment: red" in Path("torchattr-report.html").read_text()


@pytest.mark.parametrize(
    ("model", "target", "said"),
    [
        ("segmenter", "segmant:red", "did you mean segment: ...?"),
        ("segmenter", "segment:rad", "did you mean 'red'?"),
        ("segmenter", "mask:none.png,red", "none.png"),
        ("segmenter", "box:red", "is for detectors"),
        ("detector", "box:nothing", "found no box of class 0"),
        ("detector", "box:red,36,4,60,28", "no detection matches box"),
    ],
)
def test_wrong_targets_are_named(regions, model, target, said):
    result = run(model, target)
    assert result.exit_code != 0
    assert said in result.stderr.replace("\n", " ")


def test_a_picture_without_boxes_is_skipped_with_the_reason(regions):
    Image.new("RGB", (64, 32)).save("both.png")
    result = run("detector")
    assert "finds no box in this picture above its score threshold" in result.stderr.replace(
        "\n", " "
    )
