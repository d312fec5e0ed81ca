import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import Compose, Normalize, ToTensor
from torchvision.transforms.v2.functional import to_image

from torchattr.models import LoadedModel, load_model, read_image
from torchattr.models.collage import examples
from torchattr.results.display import Display


def loaded(transform):
    return LoadedModel("tiny", nn.Flatten(), transform)


def standardised(image):
    x = to_image(image).float()
    return (x - x.mean()) / (x.std() + 1e-6)


def test_a_normalisation_is_reversed():
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    scaled = loaded(Compose([ToTensor(), Normalize([0.1, 0.5, 0.9], [0.2, 0.3, 0.4])]))
    display = Display.of(scaled.transform)
    shown = display.picture(scaled.preprocess(image).tensor)
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(image))
    low, high = display.bounds
    torch.testing.assert_close(low.flatten(), -torch.tensor([0.5, 5 / 3, 2.25]))
    torch.testing.assert_close(high.flatten(), torch.tensor([4.5, 5 / 3, 0.25]))


def test_the_embedded_model_shows_what_it_was_given():
    demo = load_model("demo")
    image = read_image(examples()[0].path)
    shown = Display.of(demo.transform).picture(demo.preprocess(image).tensor)
    expected = image.resize((128, 128), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(expected))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_where_the_reverse_is_not_known_brightness_is_stretched(channels):
    display = Display.of(standardised)
    assert display.bounds is None
    shown = np.asarray(display.picture(torch.linspace(-3, 7, channels * 4).reshape(channels, 2, 2)))
    assert (shown.min(), shown.max()) == (0, 255)
