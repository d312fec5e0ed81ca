import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import torchattr as ta
from torchattr.errors import FolderError, ShapeError
from torchattr.results import save_explanation


def model(channels=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 5),
    ).eval()


def explanation(count=2, channels=3, targets=None, methods=("saliency", "grad_cam"), **options):
    x = torch.rand(count, channels, 8, 8)
    layer = options.pop("layer", "1")
    return ta.explain(model(channels), x, methods, targets or ta.TopK(2), layer=layer, **options)


def names(paths):
    return [path.name for path in paths]


def entry(out, name):
    return json.loads((out / "manifest.json").read_text())["pictures"][name]


def test_each_example_gets_a_panel_and_its_raw_maps(tmp_path):
    ex = explanation()
    paths = ex.save(tmp_path)
    assert names(paths) == ["00.png", "00.npz", "01.png", "01.npz", "manifest.json"]
    with np.load(tmp_path / "01.npz") as arrays:
        assert set(arrays) == {"saliency", "grad_cam", "scores", "targets"}
        np.testing.assert_array_equal(arrays["grad_cam"], ex["grad_cam"][1].numpy())
        np.testing.assert_array_equal(arrays["targets"], ex.targets[1].numpy())
        np.testing.assert_array_equal(arrays["scores"], ex.scores[1].numpy())
    with Image.open(tmp_path / "00.png") as panel:
        panel.load()
        assert panel.mode == "RGB"


def test_the_manifest_says_what_was_done(tmp_path):
    ex = explanation(methods=("saliency", "guided_backprop"))
    chances = ex.output.softmax(1)
    ex.save(
        tmp_path,
        names=["left", "right"],
        class_names=["a", "b", "c", "d", "e"],
        probabilities=chances,
        boxes=[(0, 0, 8, 8), (1, 2, 5.5, 6)],
        details={"model": "mine"},
    )
    said = entry(tmp_path, "right")
    best = int(ex.targets[1, 0])
    assert said["model"] == "mine"
    assert said["targets"][0]["name"] == "abcde"[best]
    assert said["targets"][0]["index"] == best
    assert said["targets"][0]["probability"] == pytest.approx(float(chances[1, best]))
    assert said["box"] == [1, 2, 5.5, 6]
    assert said["picture"] == {"width": 8, "height": 8}
    assert said["shapes"] == {
        "inputs": [[3, 8, 8]],
        "saliency": [2, 3, 8, 8],
        "guided_backprop": [2, 3, 8, 8],
    }
    assert said["coverage"]["calls"]["relu"] == 1
    assert said["coverage"]["methods"] == {"guided_backprop": "1 relu call, 1 rewritten"}
    assert said["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_saving_twice_gives_the_same_bytes(tmp_path):
    ex = explanation()
    first = {path: path.read_bytes() for path in ex.save(tmp_path)}
    second = {path: path.read_bytes() for path in ex.save(tmp_path)}
    assert first == second


def test_pictures_are_drawn_in_their_own_shape(tmp_path):
    ex = explanation(count=1)
    wide = ex.save(tmp_path, images=[Image.new("RGB", (40, 10))], names=["wide"])[0]
    tall = ex.save(tmp_path, images=torch.rand(1, 3, 40, 10), names=["tall"])[0]
    with Image.open(wide) as one, Image.open(tall) as other:
        assert one.height < other.height


def test_equal_names_are_kept_apart(tmp_path):
    paths = explanation().save(tmp_path, names=["cat", "cat"])
    assert names(paths) == ["cat.png", "cat.npz", "cat-2.png", "cat-2.npz", "manifest.json"]


def test_a_single_target_and_several_layers(tmp_path):
    ex = explanation(count=1, targets=3, layer=["0", "1"], methods=["grad_cam"])
    save_explanation(ex, tmp_path)
    with np.load(tmp_path / "00.npz") as arrays:
        assert {"grad_cam/0", "grad_cam/1"} <= set(arrays)
        assert arrays["grad_cam/0"].shape == (1, 1, 8, 8)
    assert entry(tmp_path, "00")["targets"][0]["index"] == 3


def test_inputs_that_are_no_pictures_have_no_panel(tmp_path):
    table = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    ex = ta.explain(table, torch.rand(1, 4), ["saliency"], 1)
    assert names(ex.save(tmp_path)) == ["00.npz", "manifest.json"]


def test_many_channels_are_drawn_on_the_picture_that_is_given(tmp_path):
    ex = explanation(count=1, channels=6, methods=["guided_backprop"])
    assert names(ex.save(tmp_path / "a")) == ["00.npz", "manifest.json"]
    paths = ex.save(tmp_path / "b", images=[Image.new("RGB", (8, 8))])
    assert names(paths) == ["00.png", "00.npz", "manifest.json"]


def test_several_inputs_and_targets_that_are_no_classes(tmp_path):
    class Two(nn.Module):
        def forward(self, a, b):
            return (a.relu() + b).flatten(1)

    x = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    ex = ta.explain(Two(), x, ["saliency"], lambda scores: scores.sum(1))
    ex.save(tmp_path)
    with np.load(tmp_path / "00.npz") as arrays:
        assert set(arrays) == {"saliency/0", "saliency/1", "scores"}
    assert entry(tmp_path, "00")["targets"][0]["name"] == "target 1"


def test_bfloat16_is_saved_as_float32(tmp_path):
    x = torch.rand(1, 3, 8, 8, dtype=torch.bfloat16)
    ta.explain(model().bfloat16(), x, ["saliency"], 0).save(tmp_path)
    with np.load(tmp_path / "00.npz") as arrays:
        assert arrays["saliency"].dtype == np.float32


def test_an_empty_batch_gives_a_manifest_only(tmp_path):
    ex = ta.explain(model(), torch.rand(0, 3, 8, 8), ["saliency"], 0)
    assert names(ex.save(tmp_path)) == ["manifest.json"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": [Image.new("RGB", (4, 4))]}, "images has 1 entries for 2 examples"),
        ({"names": ["a", "b", "c"]}, "names has 3 entries for 2 examples"),
        ({"boxes": []}, "boxes has 0 entries"),
        ({"probabilities": torch.rand(2, 9)}, r"probabilities must have the shape \(2, 2\)"),
    ],
)
def test_options_must_fit_the_batch(tmp_path, options, said):
    with pytest.raises(ShapeError, match=said):
        explanation().save(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_foreign_file_is_not_replaced(tmp_path):
    (tmp_path / "00.png").write_text("mine")
    with pytest.raises(FolderError, match=r"overwrite=True"):
        explanation().save(tmp_path)
    explanation().save(tmp_path, overwrite=True)
