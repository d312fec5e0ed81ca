"""The command `benchmark`."""

import json
from pathlib import Path

import pytest
from command import call, refused


def test_planted_truth(here):
    chosen = ("--method", "saliency", "--plant", "stamp", "--plant", "saturated", "--n", 10)
    result = call("benchmark", "planted", *chosen, "--out", "out", "--html", "page.html")
    assert result.exit_code == 0, result.output
    line = next(one for one in result.stdout.splitlines() if one.startswith("saliency"))
    assert line.split() == ["saliency", "found", "1.00", "nothing"]
    assert "saturated: The stamp decides" in result.stderr
    record = json.loads(Path("out/manifest.json").read_text())["pictures"]["planted/report"]
    assert record["verdicts"]["saliency"] == {"stamp": "found", "saturated": "nothing"}
    assert Path("out/planted/report.png").exists()
    assert "Planted truth" in Path("page.html").read_text()


def test_scenes(here):
    chosen = ("--method", "saliency", "--method", "grad_cam", "--method", "lrp")
    result = call("benchmark", *chosen, "--metric", "mass", "--metric", "auc", "--n", 10)
    assert result.exit_code == 0, result.output
    assert "method" in result.stdout
    assert "Rank correlation of the metrics" in result.stdout
    assert "Means over 10 pictures of seed 1" in result.stderr
    assert not Path("torchattr-out").exists()


@pytest.mark.filterwarnings("ignore::torchattr.errors.FewSamplesWarning")
def test_photographs(here):
    chosen = ("--model", "demo", "--method", "saliency", "--metric", "mass", "--metric", "deletion")
    result = call("benchmark", *chosen)
    assert result.exit_code == 0, result.output
    assert "Methods on photographs" in result.stdout
    assert "Means over 4 pictures; arrows" in result.stderr


def test_files_of_another_origin_are_kept(here):
    Path("mine/planted").mkdir(parents=True)
    Path("mine/planted/report.png").write_text("mine")
    chosen = ("--method", "saliency", "--plant", "stamp", "--n", 10, "--out", "mine")
    refused(call("benchmark", "planted", *chosen), "report.png")
    assert Path("mine/planted/report.png").read_text() == "mine"
    assert call("benchmark", "planted", *chosen, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plants",), "pictures must be collage, photographs or planted, got 'plants'"),
        (("--plant", "stamp"), "--plant belongs to torchattr benchmark planted"),
        (("planted", "--metric", "mass"), "--metric belongs to torchattr benchmark collage"),
        (("planted", "--model", "lite0"), "--model belongs to torchattr benchmark photographs"),
        (("--model", "lite0", "--n", 4), "--n belongs to torchattr benchmark collage and planted"),
        (("--model", "lite1", "--method", "lrp"), "unknown model 'lite1'"),
        (("--metric", "iou"), "metrics must be some of mass"),
        (("--method", "salience"), "did you mean 'saliency'"),
        (("--n", 0), "n must be at least 1"),
        (("--seed", 0), "seed 0 is that of the scenes"),
        (("planted", "--plant", "tree"), "plants must be some of stamp"),
        (("--method", "lrp", "--out", "photo.png/x"), "cannot write to"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_written(here, arguments, said):
    refused(call("benchmark", *arguments), said)
