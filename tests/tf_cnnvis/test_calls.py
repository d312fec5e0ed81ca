import inspect

import numpy as np
import pytest
import torch
from helpers import noise, seeded
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import torchattr as ta
from torchattr import tf_cnnvis
from torchattr.errors import FolderError, InputError, InputTypeError, LayerError, TargetError

CALLS = (tf_cnnvis.activation_visualization, tf_cnnvis.deconv_visualization)


class Net(nn.Module):
    """A functional ReLU, a pool, a ReLU layer, a head; and an argument beside the image."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 5, 3, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(5, 4)

    def forward(self, x, shift=0.0):
        x = torch.relu(self.first(x) + shift)
        x = self.act(self.second(nn.functional.max_pool2d(x, 2)))
        return self.head(x.mean((2, 3)))


MODEL = seeded(Net)
X = noise(3, 3, 12, 12, dtype=torch.float32)
NOWHERE = {"path_logdir": None, "path_outdir": None}


@pytest.fixture
def folders(tmp_path):
    return {"path_logdir": tmp_path / "Log", "path_outdir": tmp_path / "Output"}


def relative(paths, folder):
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def test_the_arguments_are_those_of_tf_cnnvis():
    common = ["sess_graph_path", "value_feed_dict", "input_tensor", "layers"]
    places = ["path_logdir", "path_outdir"]
    for call in CALLS:
        assert list(inspect.signature(call).parameters)[:6] == common + places
        defaults = [p.default for p in list(inspect.signature(call).parameters.values())[2:6]]
        assert defaults == [None, "r", "./Log", "./Output"]
    dream = list(inspect.signature(tf_cnnvis.deepdream_visualization).parameters)
    assert dream[:7] == [*common[:2], "layer", "classes", "input_tensor", *places]


def test_activations_of_every_relu_operation_and_image(folders):
    found = tf_cnnvis.activation_visualization(MODEL, X, **folders)
    assert {name: one.shape for name, one in found.arrays.items()} == {
        "relu": (3, 6, 12, 12),
        "act": (3, 5, 6, 6),
    }
    np.testing.assert_array_equal(found.arrays["act"], ta.feature_maps(MODEL, X, "act")["act"])
    wanted = [f"activations/{n}/0{i}.{s}" for n in ("act", "relu") for i in range(3) for s in _BOTH]
    assert relative(found.paths, folders["path_outdir"]) == sorted([*wanted, "manifest.json"])
    assert all(path.is_file() for path in found.paths)
    with np.load(folders["path_outdir"] / "activations" / "relu" / "02.npz") as kept:
        np.testing.assert_array_equal(kept["maps"], found.arrays["relu"][2])


_BOTH = ("png", "npz")


def test_tensorboard_has_a_step_for_each_image_and_an_image_for_each_map(folders):
    tf_cnnvis.activation_visualization(MODEL, X, **folders)
    log = EventAccumulator(str(folders["path_logdir"])).Reload()
    grids = log.Images("activations act/grid")
    assert [event.step for event in grids] == [0, 1, 2]
    tags = log.Tags()["images"]
    assert sum(tag.startswith("activations relu/0") for tag in tags) == 6
    assert sum(tag.startswith("activations act/0") for tag in tags) == 5


@pytest.mark.parametrize("rule", ["deconvolution", "guided", "gradient"])
def test_every_map_is_projected_back(rule, folders):
    found = tf_cnnvis.deconv_visualization(MODEL, X, layers=["r", "first"], rule=rule, **folders)
    assert set(found.arrays) == {"relu", "act", "first"}
    expected = ta.back_project(MODEL, X, "act", start="map", rule=rule)
    np.testing.assert_array_equal(found.arrays["act"], expected.pictures.numpy())
    assert found.arrays["relu"].shape == (3, 6, 3, 12, 12)
    assert found.arrays["relu"].any()
    assert "back-projections/first/01.png" in relative(found.paths, folders["path_outdir"])


def test_only_the_strongest_maps():
    found = tf_cnnvis.deconv_visualization(MODEL, X, layers="act", top=2, **NOWHERE)
    expected = ta.back_project(MODEL, X, "act", "top2", "map")
    np.testing.assert_array_equal(found.arrays["act"], expected.pictures.numpy())
    all_of_them = tf_cnnvis.deconv_visualization(MODEL, X, layers="act", top=99, **NOWHERE)
    assert all_of_them.arrays["act"].shape[1] == 5


def test_codes_and_lists_of_names():
    def layers(wanted):
        return list(tf_cnnvis.activation_visualization(MODEL, X, None, wanted, **NOWHERE).arrays)

    assert layers("p") == ["max_pool"]
    assert layers("c") == ["first", "second"]
    assert layers(["second", "p"]) == ["second", "max_pool"]


def test_dreams_of_channels_and_of_the_output(folders):
    options = {"steps": 6, "seed": 3}
    found = tf_cnnvis.deepdream_visualization(MODEL, X, "second", [0, 4], **folders, **options)
    expected = ta.maximise(MODEL, ("second", 4), shape=(3, 12, 12), **options)
    np.testing.assert_array_equal(found.arrays["4"], expected[0].numpy())
    paths = [f"dreams/second_{unit}.{suffix}" for unit in (0, 4) for suffix in ("npz", "png")]
    assert relative(found.paths, folders["path_outdir"]) == [*paths, "manifest.json"]
    scores = tf_cnnvis.deepdream_visualization(MODEL, X, None, 2, **NOWHERE, steps=20).arrays["2"]
    head = tf_cnnvis.deepdream_visualization(MODEL, X, "head", 2, **NOWHERE, steps=20).arrays["2"]
    np.testing.assert_allclose(scores, head, atol=1e-5)
    with torch.no_grad():
        assert MODEL(torch.from_numpy(scores)[None])[0, 2] > MODEL(X)[:, 2].max()


def test_arrays_and_further_arguments_are_fed_by_name():
    fed = {"x": X.double().numpy(), "shift": torch.tensor(0.5)}
    for call in CALLS:
        found = call(MODEL, fed, "x", layers="act", **NOWHERE)
        shifted = _shifted(0.5)
        if call is CALLS[0]:
            expected = ta.feature_maps(shifted, X, "act")["act"]
        else:
            expected = ta.back_project(shifted, X, "act", start="map").pictures
        np.testing.assert_allclose(found.arrays["act"], expected.numpy(), rtol=1e-4, atol=1e-5)
    alone = tf_cnnvis.activation_visualization(MODEL, {"x": X}, layers="act", **NOWHERE)
    np.testing.assert_array_equal(alone.arrays["act"], ta.feature_maps(MODEL, X, "act")["act"])


def _shifted(shift):
    class Shifted(Net):
        def forward(self, x):
            return super().forward(x, shift)

    model = Shifted().eval()
    model.load_state_dict(MODEL.state_dict())
    return model


def test_a_model_by_its_name_draws_dreams_in_its_own_colours(folders):
    x = torch.zeros(1, 3, 32, 32)
    found = tf_cnnvis.deepdream_visualization("demo", x, None, 1, steps=2, **folders)
    with Image.open(folders["path_outdir"] / "dreams" / "class_1.png") as shown:
        # Above its caption and the margin.
        drawn = shown.crop((32, shown.height - 499, 480, shown.height - 51))
        mean = np.asarray(drawn, float).mean((0, 1)) / 255
    image = found.arrays["1"].mean((1, 2)) * [0.27, 0.25, 0.24] + [0.46, 0.40, 0.34]
    np.testing.assert_allclose(mean, image, atol=0.02)


@pytest.mark.parametrize(
    ("error", "said", "options"),
    [
        (LayerError, "did you mean 'first'", {"layers": "frist"}),
        (LayerError, "'head' returned", {"layers": "head"}),
        (
            InputError,
            "input_tensor must name the images among 'x', 'y'",
            {"feed": {"x": X, "y": X}},
        ),
        (InputError, "got 'z'", {"feed": {"x": X}, "input_tensor": "z"}),
        (InputError, "among nothing", {"feed": {}}),
        (InputTypeError, "must hold images", {"feed": "photo.jpg"}),
        (InputError, "NaN", {"feed": X / 0}),
    ],
)
def test_what_fails_raises_and_writes_nothing(error, said, options, folders, tmp_path):
    feed = options.pop("feed", X)
    for call in CALLS:
        with pytest.raises(error, match=said):
            call(MODEL, feed, **folders, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("classes", [[], "cat", [True], [1.5]])
def test_classes_are_whole_numbers(classes):
    with pytest.raises(TargetError, match="classes must be at least one integer"):
        tf_cnnvis.deepdream_visualization(MODEL, X, "second", classes, **NOWHERE)


def test_a_foreign_file_is_kept(folders):
    mine = folders["path_outdir"] / "activations" / "act" / "01.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(FolderError, match="which was not created by torchattr"):
        tf_cnnvis.activation_visualization(MODEL, X, **folders)
    assert mine.read_text() == "mine"
    assert not (folders["path_outdir"] / "activations" / "relu").exists()


def test_top_is_checked():
    with pytest.raises(InputError, match="top must be"):
        tf_cnnvis.deconv_visualization(MODEL, X, top=0, **NOWHERE)


def test_the_result_says_what_it_holds():
    found = tf_cnnvis.activation_visualization(MODEL, X, layers="act", **NOWHERE)
    assert repr(found) == "Visualization(act (3, 5, 6, 6); 0 files)"
