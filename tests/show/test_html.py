import base64
import io
import re

import numpy as np
import pytest
import torch
from helpers import noise, seeded
from PIL import Image
from torch import nn

import torchattr as ta
from torchattr.errors import InputError
from torchattr.show.html import captioned, figure, image_tag, notebook


def pictures(text):
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    ]


def test_a_tag_carries_the_pixels():
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    tag = image_tag(pixels, 'a "quoted" <b>')
    (found,) = pictures(tag)
    np.testing.assert_array_equal(found, pixels)
    assert 'width="4" height="3"' in tag
    assert "&quot;quoted&quot; &lt;b&gt;" in tag


def test_a_caption_is_escaped():
    assert "<b>" not in figure(np.zeros((2, 2)), "<b>")


def test_long_captions_break_behind_dots():
    text = captioned([np.zeros((2, 2))], ["A <map>", "max 0.4 · clipped at 0.1"])
    caption = "<figcaption>A &lt;map&gt;<br>max 0.4 · <span>clipped at 0.1</span></figcaption>"
    assert caption in text


def test_what_cannot_be_drawn_is_shown_as_text():
    def draw():
        raise InputError("only <pictures>")

    text = notebook(["<result>"], draw)
    assert "only &lt;pictures&gt;" in text
    assert "&lt;result&gt;" in text


MODEL = seeded(
    lambda: nn.Sequential(
        nn.Conv2d(3, 20, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 3)
    )
)
X = noise(2, 3, 12, 12, dtype=torch.float32)
RESULTS = {
    # The input, five maps and three colour bars of each of two examples.
    "explanation": (lambda: ta.explain(MODEL, X, layer="1"), 18),
    "feature maps": (lambda: ta.feature_maps(MODEL, X, ["0", "1", "3"]), 2),
    "kernels": (lambda: ta.conv_kernels(MODEL, "0"), 1),
    "back-projection": (lambda: ta.back_project(MODEL, X, "1"), 2),
    "layers": (lambda: ta.layer_by_layer(MODEL, X, target=1), 2),
    "patches": (lambda: ta.top_patches(MODEL, X, "1", 3, k=2), 1),
}


@pytest.mark.parametrize("name", RESULTS)
def test_each_result_shows_itself_in_a_notebook(name):
    make, count = RESULTS[name]
    result = make()
    text = result._repr_html_()
    shown = pictures(text)
    assert len(shown) == count
    assert all(one.std() > 0 for one in shown)
    assert name == "explanation" or repr(result).partition("(")[0] in text
    assert len(repr(result)) < 400


def test_a_notebook_says_when_it_shows_some_of_the_maps():
    assert "1: 16 of 20 maps, the strongest first" in ta.feature_maps(MODEL, X, "1")._repr_html_()


@pytest.mark.parametrize(
    "result",
    [
        lambda x: ta.explain(nn.Linear(3, 2), x, ["saliency"]),
        lambda x: ta.feature_maps(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), x),
    ],
)
def test_results_without_pictures_are_text(result):
    text = result(torch.rand(2, 3))._repr_html_()
    assert "<code>" in text
    assert not pictures(text)
