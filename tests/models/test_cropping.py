import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification, SemanticSegmentation

from torchattr.models import Box, GeometryWarning, geometry_of
from torchattr.models.cropping import Measured, ResizeAndCrop, WholePicture

SIZES = [(640, 427), (427, 640), (300, 300), (96, 50), (33, 500), (1501, 999)]


def to_tensor(*steps):
    return v2.Compose([*steps, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (232, 224), (64, 64), (100, 128)])
def test_the_exact_box_is_the_one_that_is_measured(size, resize, crop):
    preset = ImageClassification(crop_size=crop, resize_size=resize)
    exact = geometry_of(preset).box(*size)
    assert isinstance(geometry_of(preset), ResizeAndCrop)
    measured = Measured(preset).box(*size)
    # The ramps that are measured have 256 levels.
    np.testing.assert_allclose(measured, exact, atol=max(size) / 256)


def test_the_exact_box_finds_a_dot_again():
    preset = ImageClassification(crop_size=224, resize_size=232)
    pixels = np.zeros((600, 900, 3), np.uint8)
    pixels[390:410, 290:310] = 255
    seen = preset(Image.fromarray(pixels)).sum(0)
    y, x = np.array(np.unravel_index(int(seen.argmax()), seen.shape)) + 0.5
    box = geometry_of(preset).box(900, 600)
    assert abs(box.x0 + x / 224 * (box.x1 - box.x0) - 300) < 10
    assert abs(box.y0 + y / 224 * (box.y1 - box.y0) - 400) < 10


@pytest.mark.parametrize("size", SIZES)
def test_a_stretching_transform_shows_the_whole_picture(size):
    box = geometry_of(to_tensor(v2.Resize((40, 60)))).box(*size)
    np.testing.assert_allclose(box, (0, 0, *size), atol=max(size) / 256)


def test_grey_padding_is_outside_the_picture():
    box = geometry_of(to_tensor(v2.Pad((10, 20, 30, 40), fill=99))).box(200, 100)
    np.testing.assert_allclose(box, (-10, -20, 230, 140), atol=1)


def test_normalised_single_channel_results_are_measured():
    steps = [v2.CenterCrop(50), v2.Grayscale(1)]
    transform = v2.Compose([to_tensor(*steps), v2.Normalize([0.4], [-0.2])])
    np.testing.assert_allclose(geometry_of(transform).box(100, 80), (25, 15, 75, 65), atol=1)


def test_a_mirror_falls_back_to_the_whole_picture_and_says_so():
    with pytest.warns(GeometryWarning, match="whole image"):
        box = geometry_of(to_tensor(v2.RandomHorizontalFlip(p=1.0))).box(60, 40)
    assert box == Box(0, 0, 60, 40)


def test_a_turn_falls_back_to_the_whole_picture():
    with pytest.warns(GeometryWarning):
        box = geometry_of(to_tensor(v2.RandomRotation((45, 45)))).box(60, 60)
    assert box == Box(0, 0, 60, 60)


def test_a_random_crop_falls_back_to_the_whole_picture():
    torch.manual_seed(0)
    with pytest.warns(GeometryWarning):
        assert geometry_of(to_tensor(v2.RandomCrop(20))).box(600, 400) == Box(0, 0, 600, 400)


def test_a_size_is_measured_once():
    calls = []

    def transform(image):
        calls.append(image.size)
        return to_tensor()(image)

    geometry = geometry_of(transform)
    assert geometry.box(30, 20) == geometry.box(30, 20)
    first = len(calls)
    geometry.box(30, 20)
    assert len(calls) == first


def test_segmentation_presets_keep_the_whole_picture():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert geometry_of(SemanticSegmentation(resize_size=520)) == WholePicture()


@pytest.mark.parametrize("size", SIZES)
def test_the_border_is_met_exactly(size):
    assert geometry_of(to_tensor()).box(*size) == Box(0, 0, *size)
