"""The command `benchmark`."""

import json
from pathlib import Path

import pytest
from command import call, refused
from PIL import Image

parquet = pytest.importorskip("pyarrow.parquet")


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


ANNOTATED = ("--method", "saliency", "--method", "grad_cam", "--metric", "mass", "--metric", "auc")


def annotated(count=10):
    """Pictures with boxes, for the model `relu` of `models.py`."""
    Path("data").mkdir()
    lines = ["path,class,x0,y0,x1,y1"]
    for number in range(count):
        picture = Image.new("RGB", (40, 30), (20, 30, 40))
        picture.paste((200, 30 * (number % 7), 40), (number, 4, number + 12, 20))
        picture.save(f"data/{number}.png")
        lines.append(f"{number}.png,{('dark', 'light')[number % 2]},{number},4,{number + 12},20")
    Path("boxes.csv").write_text("\n".join(lines))
    return "--data", "data", "--boxes", "boxes.csv", "--model", "models.py:relu"


def test_ones_own_data(here):
    arguments = ("benchmark", *annotated(), *ANNOTATED, "--out", "out")
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert "Methods on data" in result.stdout
    assert "Rank correlation of the metrics" not in result.stdout  # It takes three methods.
    assert "10 of 10 pictures" in result.stderr
    assert "Means over 10 pictures; arrows" in result.stderr
    assert parquet.read_table("out/values").num_rows == 10 * 5
    page = Path("out/benchmark.html").read_text()
    assert "Methods on data" in page
    assert "0.png (dark)" in page
    assert page.count("<img ") >= 2
    assert "Input and its boxes" in page
    pictures = json.loads(Path("out/manifest.json").read_text())["pictures"]
    assert [name for name in pictures if name.startswith("data/panels/")] != []
    again = call(*arguments)
    assert again.exit_code == 0, again.output
    assert "nothing left to do: all 10 pictures are done already" in again.stderr
    assert again.stdout == result.stdout


def test_other_settings_for_a_begun_folder_are_refused(here):
    arguments = ("benchmark", *annotated(), "--out", "out")
    assert call(*arguments, *ANNOTATED).exit_code == 0
    result = call(*arguments, *ANNOTATED[:4], "--metric", "mass")
    assert result.exit_code == 2
    assert "was begun with other settings: metrics: ['mass', 'auc'], now ['mass']" in result.stderr


def test_what_is_left_out_is_said_and_is_the_exit_code(here):
    arguments = annotated()
    with Path("boxes.csv").open("a") as file:
        file.write("\nnone.png,dark,0,0,9,9\n3.png,grey,0,0,9,9\n")
    result = call("benchmark", *arguments, *ANNOTATED, "--out", "out", "--html", "other.html")
    assert result.exit_code == 1, result.output
    assert "Left out: none.png (dark), data/none.png: no such file" in result.stderr
    assert "Left out: 3.png (grey), relu" in result.stderr or "does not know" in result.stderr
    assert set(json.loads(Path("out/manifest.json").read_text())["skipped"]) == {
        "none.png (dark)",
        "3.png (grey)",
    }
    assert not Path("out/benchmark.html").exists()
    assert "none.png (dark)" in Path("other.html").read_text()


@pytest.mark.filterwarnings("ignore::torchattr.errors.FewSamplesWarning")
def test_json(here):
    data = annotated(4)
    for arguments in [
        ("--method", "saliency", "--metric", "mass", "--n", 4),
        ("planted", "--method", "saliency", "--plant", "stamp", "--n", 4),
        (*data, *ANNOTATED, "--out", "out"),
    ]:
        result = call("benchmark", *arguments, "--json")
        assert result.exit_code == 0, result.output
        assert "saliency" in json.loads(result.stdout)["methods"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "data"), "--data and --boxes belong together"),
        (("--boxes", "boxes.csv"), "--data and --boxes belong together"),
        (("planted", "--data", "data", "--boxes", "b.csv"), "'planted' does not go with it"),
        (("--data", "none", "--boxes", "boxes.csv"), "data: none is no folder"),
        (("--data", "data", "--boxes", "none.csv"), "none.csv cannot be read"),
        (("--data", "data", "--boxes", "boxes.txt"), "must be a table"),
        (("--data", "data", "--boxes", "boxes.csv", "--n", 3), "--n belongs to torchattr"),
        (("--data", "data", "--boxes", "boxes.csv", "--plant", "stamp"), "--plant belongs to"),
        (("--data", "data", "--boxes", "boxes.csv", "--metric", "grid"), "metrics has only grid"),
        (("--data", "data", "--boxes", "boxes.csv", "--method", "salience"), "did you mean"),
        (("--device", "cpu", "--scores", "raw"), "--scores belongs to torchattr benchmark --data"),
        (("--trust",), "--trust belongs to torchattr benchmark --data"),
    ],
)
def test_wrong_input_about_ones_own_data_is_named(here, arguments, said):
    annotated(2)
    chosen = ("--model", "models.py:relu") if "--metric" in arguments else ()
    refused(call("benchmark", *arguments, *chosen), said)


def test_options_of_the_methods(here):
    chosen = ("--method", "rise", "--plant", "stamp", "--n", 10, "--json")
    few = call("benchmark", "planted", *chosen, "--option", "n_masks=4")
    assert few.exit_code == 0, few.output
    assert json.loads(few.stdout)["settings"] == {"rise": "n_masks=4"}
    usual = call("benchmark", "planted", *chosen)
    assert json.loads(usual.stdout)["gains"] != json.loads(few.stdout)["gains"]
    refused(call("benchmark", "planted", *chosen, "--option", "n_maskss=4"), "no option 'n_maskss'")


@pytest.mark.parametrize("wrong", [("--method", "zzz"), ("--option", "zzz=3")])
def test_unknown_names_are_not_answered_with_long_lists(here, wrong):
    result = call("benchmark", *wrong)
    refused(result, "zzz", "listed by torchattr methods")
    assert len(result.stderr) < 200
