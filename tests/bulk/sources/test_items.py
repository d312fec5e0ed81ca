import numpy as np
import pytest
import torch
from PIL import Image

from torchattr.bulk.sources.items import as_picture, image_of, label_of
from torchattr.errors import ImageError, InputTypeError

RED = Image.new("RGB", (4, 3), "red")


@pytest.mark.parametrize(
    ("item", "label"),
    [
        (RED, None),
        ((RED, 3), 3),
        ([RED, "dog", 5], "dog"),
        ((RED, torch.tensor(3)), 3),
        ((RED, np.int64(3)), 3),
        ((RED, torch.ones(2)), None),
        ((RED, {"boxes": []}), None),
        ({"image": RED, "label": 3}, 3),
        ({"img": RED, "target": 3}, 3),
        ({"image": RED}, None),
    ],
)
def test_the_image_and_the_label_are_found(item, label):
    assert image_of(item) is RED
    assert label_of(item) == label


@pytest.mark.parametrize(
    "image",
    [
        RED,
        RED.convert("RGBA"),
        RED.convert("CMYK"),
        np.asarray(RED),
        torch.from_numpy(np.asarray(RED).copy()).permute(2, 0, 1),
    ],
)
def test_images_become_rgb(image):
    picture = as_picture(image, "x")
    assert (picture.mode, picture.size, picture.getpixel((1, 2))) == ("RGB", (4, 3), (255, 0, 0))


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (4, 3), 128),
        np.full((3, 4), 128, np.uint8),
        np.full((3, 4, 1), 128, np.uint8),
        torch.full((1, 3, 4), 128, dtype=torch.uint8),
    ],
)
def test_grey_images_become_rgb(image):
    assert as_picture(image, "x").getpixel((3, 2)) == (128, 128, 128)


def test_a_model_input_stays_as_it_is():
    inputs = torch.rand(3, 4, 4)
    assert as_picture(inputs, "x") is inputs


def test_the_orientation_of_a_camera_is_applied():
    image = Image.new("RGB", (4, 3))
    image.getexif()[274] = 6
    assert as_picture(image, "x").size == (3, 4)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("a.png", "got str"),
        (None, "got NoneType"),
        (torch.rand(1, 3, 4, 4), r"a tensor \(1, 3, 4, 4\) of torch.float32"),
        (torch.ones(3, 4, 4, dtype=torch.int64), "torch.int64"),
        (np.ones((4, 4, 3)), r"an array \(4, 4, 3\) of float64"),
        (np.ones((4, 4, 2), np.uint8), r"an array \(4, 4, 2\)"),
    ],
)
def test_what_is_no_image_is_refused(image, found):
    with pytest.raises(InputTypeError, match=f"cat: an image of data must be .*{found}"):
        as_picture(image, "cat")


def test_a_damaged_file_is_an_image_error(tmp_path):
    RED.save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    with Image.open(tmp_path / "a.png") as opened, pytest.raises(ImageError, match="cat: damaged"):
        as_picture(opened, "cat")
