import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import PILToTensor, ToTensor
from torchvision.transforms._presets import ImageClassification

import torchattr as ta
from torchattr.errors import LayerChoiceWarning, ModelError, ShapeError
from torchattr.models import LoadedModel, example, load_model


def loaded(transform=None, **options):
    return LoadedModel("net", nn.Flatten(), transform or ToTensor(), **options)


def test_a_map_goes_back_onto_the_original():
    preset = ImageClassification(crop_size=32, resize_size=32)
    original = Image.new("RGB", (200, 100))
    prepared = loaded(preset).preprocess(original)
    assert prepared.tensor.shape == (3, 32, 32)
    assert prepared.original is original
    assert prepared.box == (50, 0, 150, 100)
    placed = prepared.place(torch.ones(2, 1, 4, 4))
    assert placed.shape == (2, 1, 100, 200)
    assert np.isnan(placed[..., :50]).all()
    assert np.isnan(placed[..., 150:]).all()
    assert (placed[..., 50:150] == 1).all()
    assert (prepared.place(torch.ones(4, 4), fill=0.0)[:, 0] == 0).all()


def test_probabilities():
    scores = torch.tensor([[0.0, 1.0], [2.0, 2.0]])
    softmax = loaded(activation="softmax").probabilities(scores)
    torch.testing.assert_close(softmax, scores.softmax(1))
    assert loaded().probabilities(scores) is scores
    sigmoid = loaded(activation="sigmoid").probabilities(scores)
    torch.testing.assert_close(sigmoid, scores.sigmoid())
    assert loaded(activation="none").probabilities(scores) is scores
    with pytest.raises(ShapeError, match=r"scores must have the shape \(N, K\), got \(3,\)"):
        loaded().probabilities(torch.zeros(3))


def test_class_names():
    model = loaded(class_names=("cat", "dog"))
    assert [model.class_name(i) for i in (0, 1, 2, -1)] == ["cat", "dog", "class 2", "class -1"]
    assert loaded().class_name(5) == "class 5"


def test_wrong_parts_are_named():
    with pytest.raises(ModelError, match="activation must be one of"):
        loaded(activation="relu")
    with pytest.raises(ModelError, match=r"transform must be callable.*got int"):
        loaded(transform=3)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (np.asarray, r"got ndarray; torchvision\.transforms\.ToTensor"),
        (lambda image: ToTensor()(image)[None], r"a tensor of shape \(1, 3, 4, 4\)"),
        (PILToTensor(), r"floating-point tensor, got torch\.uint8"),
    ],
)
def test_a_transform_that_makes_no_image_tensor(transform, message):
    with pytest.raises(ModelError, match=message):
        loaded(transform).preprocess(Image.new("RGB", (4, 4)))


def test_reprs_are_one_line_without_tensors():
    model = loaded(class_names=("cat", "dog"))
    assert repr(model) == "LoadedModel(net: Flatten, 2 class names, activation='auto')"
    assert repr(loaded()) == "LoadedModel(net: Flatten, no class names, activation='auto')"
    image = model.preprocess(Image.new("RGB", (4, 2)))
    assert repr(image) == "PreparedImage((3, 2, 4) from 4×2 pixels)"


def test_a_loaded_model_stands_for_its_model():
    demo = load_model("demo")
    x = demo.preprocess(example("astronaut_cat")).tensor[None]
    assert torch.equal(demo(x), demo.model(x))
    for method, options in (
        (ta.GuidedBackprop, {}),
        (ta.GradCAM, {}),
        (ta.GradCAM, {"layer": "stage2"}),
        (ta.LRP, {}),
        (ta.FullGrad, {}),
    ):
        of_loaded, of_model = (
            ignoring_choices(method(model, **options), x) for model in (demo, demo.model)
        )
        torch.testing.assert_close(of_loaded, of_model)
    assert list(ta.feature_maps(demo, x, "stage2")) == ["stage2"]
    occluded = ta.Occlusion(demo).attribute(
        x, target=1, sliding_window_shapes=(3, 64, 64), strides=(3, 64, 64)
    )
    assert occluded.shape == x.shape
    assert str(ta.summary(demo, x)) == str(ta.summary(demo.model, x))


def ignoring_choices(method, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LayerChoiceWarning)
        return method.attribute(x, target=1)
