"""The command `report`."""

import json
from pathlib import Path

import pytest
from command import call, refused
from PIL import Image

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


def test_pictures_of_a_report_are_drawn_as_asked(here):
    grid = Path("torchattr-out/activations/0/photo")
    sizes, corners = [], []
    for look in ((), ("--scale", 2, "--theme", "dark", "--format", "png", "--format", "svg")):
        line = ("--layer", "0", "--html", "page.html", "--out", "torchattr-out", "--overwrite")
        result = run("report", *line, *look)
        assert result.exit_code == 0, result.output
        with Image.open(grid.with_suffix(".png")) as picture:
            sizes.append(picture.size)
            corners.append(picture.getpixel((0, 0)))
    assert sizes[1] == tuple(2 * side for side in sizes[0])
    assert corners == [(255, 255, 255), (24, 26, 30)]
    assert "<text" in grid.with_suffix(".svg").read_text()
    assert '<meta name="color-scheme" content="dark">' in Path("page.html").read_text()


@pytest.mark.parametrize(
    ("look", "said"),
    [
        (("--theme", "sepia"), "theme must be one of 'light', 'dark', got 'sepia'"),
        (("--scale", 0), "scale must be within 0.1..16"),
        (("--format", "svg"), "--format is for files of pictures; name their folder with --out"),
        (("--dpi", 300), "--dpi is for files of pictures; name their folder with --out"),
        (("--out", "a", "--format", "bmp"), "the format must be one of 'png', 'pdf', 'svg'"),
    ],
)
def test_a_look_that_there_is_not_is_refused(here, look, said):
    refused(run("report", *look, "--html", "page.html"), said)


def test_methods_have_options_and_panels_colours_as_in_explain(here):
    methods = ("--method", "lrp", "--method", "rise", "--option", "rise.n_masks=12")
    drawn = ("--composite", "zero", "--view", "photo", "--cmap", "magma", "--out", "out")
    result = run("report", *methods, *drawn)
    assert result.exit_code == 0, result.output
    settings = manifest("out")["photo"]["settings"]
    assert settings["composite"] == "zero"
    assert settings["options"] == ["rise.n_masks=12"]
    assert (settings["view"], settings["cmap"]) == ("photo", "magma")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--option", "n_maskss=3"), "no option 'n_maskss'"),
        (("--view", "side"), "side"),
        (("--cmap", "no-map"), "no-map"),
        (("--composite", "zero"), "--composite zero is for methods"),
    ],
)
def test_options_of_a_report_that_do_not_exist(here, options, said):
    refused(run("report", "--method", "rise", *options), said)
