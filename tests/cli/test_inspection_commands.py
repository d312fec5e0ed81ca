"""What activations, backproject and layers have in common."""

import json
import sys
from pathlib import Path

import pytest
from command import call, refused
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchattr.models.collage import examples

LOOKS = ("activations", "backproject", "layers")
CAT = examples()[0].path


def run(command, *arguments, model="models.py:relu"):
    return call(command, "photo.png", "--model", model, *arguments)


def files(out="torchattr-out"):
    found = (path.relative_to(out).as_posix() for path in Path(out).rglob("*") if path.is_file())
    return sorted(found)


def manifest(out="torchattr-out"):
    return json.loads((Path(out) / "manifest.json").read_text())["pictures"]


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
    refused(run(command, "--out", "photo.png/x"), "out: cannot write to photo.png/x")
    refused(run(command, "--logdir", "photo.png"), "logdir: cannot write to photo.png")
    refused(run(command, "--html", "mine.html"), "html: mine.html was not created by torchattr")
    refused(call(command, "empty"), "empty: no picture directly in this folder")
    refused(run(command, "--backend", "tritn"), "no backend is called 'tritn'")
    refused(run(command, "--layer", "9"), "the model has no layer '9'")


@pytest.mark.parametrize("command", LOOKS)
def test_a_layer_without_places_is_named(here, command):
    said = "the layer '4' returned (1, 3), so it has no feature maps"
    refused(run(command, "--layer", "4"), said)


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
    assert f"holds {made[-1]}, which was not created by torchattr" in result.stderr
    assert files() == [made[-1]]
    assert run(command, *options, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("activations", "--channel", "4"), "channel 4 is out of range for the layer"),
        (("activations", "--channel", "1", "--top", "2"), "--channel and --top are"),
        (("backproject", "--layer", "1", "--channel", "4"), "channel 4 is out of range"),
        (("backproject", "--channel", "1", "--all"), "--channel, --top and --all"),
        (("backproject", "--start", "middle"), "--start must be max, map, or a position"),
        (("backproject", "--layer", "1", "--start", "99,1"), "(99, 1) is outside"),
        (("backproject", "--rule", "guide"), "--rule must be one of deconvolution, guided"),
        (
            ("backproject", "--rule", "guided", "--rule", "gradient"),
            "names several back-projections",
        ),
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
    assert "Kept 1 of 2 finished results in torchattr-out and page.html" in result.stderr
    assert {name.rpartition("/")[2] for name in manifest()} == {"photo"}
    assert "photo" in Path("page.html").read_text()


def test_an_unreadable_picture_is_skipped(here):
    Path("text.jpg").write_text("no picture")
    result = run("activations", "text.jpg", "--html", "page.html")
    assert result.exit_code == 1
    assert "skipped: text.jpg: not a picture" in result.stderr
    assert "text.jpg: not a picture" in Path("page.html").read_text()
    assert len(manifest()) == 1


@pytest.mark.parametrize("command", [*LOOKS, "explain", "report"])
def test_results_go_to_tensorboard_and_a_page_as_well(here, command):
    result = run(command, "--logdir", "log", "--html", "page.html")
    assert result.exit_code == 0, result.output
    log = EventAccumulator("log").Reload()
    assert log.Tags()["images"]
    assert "data:image/png;base64" in Path("page.html").read_text()
    assert "tensorboard --logdir log" in result.stdout
    assert "page.html" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "stem"),
    [
        (("explain", CAT, "--method", "saliency", "--target", "top1"), "astronaut_cat"),
        (("activations", CAT, "--layer", "stem.relu", "--top", 2), None),
        (("backproject", CAT, "--layer", "stage1", "--top", 2), None),
        (("kernels", "--layer", "stem.conv"), None),
        (("layers", CAT, "--layer", "stage1", "--method", "grad_cam"), None),
        (("dream", "--layer", "stage1", "--steps", 1), None),
    ],
)
def test_every_picture_can_be_a_dark_pdf_or_a_large_svg(here, arguments, stem):
    look = ("--format", "svg", "--format", "pdf", "--theme", "dark", "--scale", 2, "--dpi", 300)
    result = call(*arguments, *look)
    assert result.exit_code == 0, result.output
    assert "pictures (.svg, .pdf)" in result.output
    out = Path("torchattr-out")
    assert not list(out.rglob("*.png"))
    (svg,), (pdf,) = (list(out.rglob(f"*.{form}")) for form in ("svg", "pdf"))
    assert 'fill="#181a1e"' in svg.read_text()
    assert pdf.read_bytes().startswith(b"%PDF")
    assert stem is None or svg.stem == stem


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--format", "jpg"), "must be one of 'png', 'pdf', 'svg', got 'jpg'"),
        (("--theme", "sepia"), "theme must be one of"),
        (("--scale", 99), "scale must be within"),
        (("--dpi", 0), "dpi must be above 0"),
    ],
)
def test_a_look_that_does_not_exist_is_refused_before_anything_is_written(here, option, words):
    result = call("explain", CAT, *option)
    assert result.exit_code == 2
    assert words in result.output
    assert not Path("torchattr-out").exists()
