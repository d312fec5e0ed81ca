"""The example scripts run and print what they should."""

import runpy
from pathlib import Path

import pytest
from PIL import Image

from torchattr.models.lite0 import PACKAGE as PRETRAINED

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
MAINS = {
    "class_activation_maps",
    "pointing_game",
    "wrong_answers",
    "maxpool_reconstructions",
    "relevance",
    "targets",
    "gallery",
    "looking_inside",
}


def main(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_every_example_is_run_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == MAINS


def test_methods_point_at_their_objects(capsys):
    accuracy = main("pointing_game")(12)
    assert accuracy["grad_cam"] > 0.9
    assert accuracy["grad_cam"] > accuracy["middle"] + 0.3
    assert "objects in 12 scenes" in capsys.readouterr().out


def test_covering_what_misled_the_model_removes_the_prediction(tmp_path, capsys):
    found = main("wrong_answers")(30, str(tmp_path / "wrong.png"))
    assert found["wrong"] >= 3
    assert found["there"] > found["wrong"] / 2 > found["elsewhere"]
    with Image.open(tmp_path / "wrong.png") as picture:
        assert picture.width > 700


@pytest.mark.parametrize(
    ("model", "weights", "layers"),
    [
        ("demo", None, ["stem.pool", "stage1", "stage2"]),
        ("torchvision:alexnet", "random", ["features.2", "features.5", "features.12"]),
    ],
)
def test_reconstructions_from_the_pools(tmp_path, model, weights, layers):
    captions = main("maxpool_reconstructions")(model, weights, None, str(tmp_path / "a.png"), 2)
    assert [line.partition(":")[0] for line in captions] == layers
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.height > picture.width / 2
        assert picture.height < 900  # three rows below one heading


def test_relevance_reaches_the_pixels_and_the_ledger_has_the_rest(tmp_path, capsys):
    reached = main("relevance")(str(tmp_path / "relevance.png"))
    of_z_plus = [share for name, share in reached.items() if name.endswith("z+")]
    assert all(0.5 < share < 1.5 for share in of_z_plus)
    assert "error" in capsys.readouterr().out
    with Image.open(tmp_path / "relevance.png") as picture:
        assert picture.width > 900


def test_all_maps_of_a_class_are_drawn(tmp_path, capsys):
    pictures = [tmp_path / "maps.png", tmp_path / "concepts.png"]
    alike = main("class_activation_maps")(*map(str, pictures))
    assert alike["grad_cam"] == pytest.approx(1)
    assert alike["xgrad_cam"] > 0.9
    assert "Ablation-CAM" in capsys.readouterr().out
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.width > 400


def test_segments_boxes_and_embeddings_have_values(tmp_path):
    values = main("targets")(str(tmp_path / "targets.jpg"))
    assert set(values) == {
        "segment: astronaut",
        "segment: cat",
        "box: astronaut",
        "box: cat",
        "similar to others",
    }
    assert all(value > 0 for value in values.values())
    with Image.open(tmp_path / "targets.jpg") as picture:
        assert picture.height > picture.width


def test_the_gallery_is_drawn(tmp_path):
    pytest.importorskip(PRETRAINED)
    few = {"sharp": {"saliency": {}}, "coarse": {"grad_cam": {}, "rise": {"n_masks": 2}}}
    files = main("gallery")(str(tmp_path), ["coffee"], **few)
    assert [file.name for file in files] == [
        "gallery-coffee-pixels.jpg",
        "gallery-coffee-regions.jpg",
    ]
    for file in files:
        with Image.open(file) as picture:
            assert picture.width >= 600


def test_maps_and_what_makes_them_respond_are_drawn(tmp_path):
    files = main("looking_inside")(str(tmp_path / "drawn"))
    assert [file.name for file in files] == ["feature-maps.png", "back-projections.png"]
    for file in files:
        with Image.open(file) as picture:
            assert picture.width > 1200
