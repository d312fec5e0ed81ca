"""The command `report`."""

import json
from pathlib import Path

import pytest
from command import call

from torchattr.models.collage import examples

CAT = examples()[0].path


def run(command, *arguments, model="models.py:relu"):
    return call(command, "photo.png", "--model", model, *arguments)


def manifest(out="torchattr-out"):
    return json.loads((Path(out) / "manifest.json").read_text())["pictures"]


def test_a_report_has_everything(here):
    result = call("report", CAT)
    assert result.exit_code == 0, result.output
    text = Path("torchattr-report.html").read_text()
    for said in (
        "torchattr report: demo",
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


@pytest.mark.parametrize(
    ("model", "without"),
    [("flat", "Feature maps"), ("gelu", "Back-projections"), ("segments", "nothing")],
)
def test_a_report_leaves_out_what_a_model_has_not(here, model, without):
    result = run("report", model=f"models.py:{model}")
    assert result.exit_code == 0, result.output
    text = Path("torchattr-report.html").read_text()
    for title in ("Evidence per class", "Feature maps", "Back-projections"):
        missing = title == without or (model == "flat" and title == "Back-projections")
        assert (title in text) != missing
    assert ("are skipped" in result.stderr) == (model != "segments")
