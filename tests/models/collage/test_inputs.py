from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch
from PIL import Image

from torchattr.models.collage import CLASSES, collage, examples, preprocess
from torchattr.models.collage.making.evaluate import truth

MOST_BYTES = 1_500_000


def test_the_weights_are_small() -> None:
    stored = files("torchattr.models.collage").joinpath("weights.safetensors").read_bytes()
    assert len(stored) <= MOST_BYTES


def test_the_model_is_trained_and_in_evaluation_mode() -> None:
    net, untrained = collage(), collage(weights=False)
    assert not net.training
    assert not untrained.training
    assert not torch.equal(net.head.weight, untrained.head.weight)


def test_every_example_is_recognised() -> None:
    net = collage()
    for example in examples():
        with Image.open(example.path) as picture:
            logits = net(preprocess(picture)[None])[0]
        assert torch.equal((logits > 0).float(), truth(example.labels)), example.labels


def test_examples_hold_a_cat_and_an_astronaut_and_boxes_inside_the_picture() -> None:
    assert 3 <= len(examples()) <= 4
    assert set(examples()[0].labels) == {"astronaut", "cat"}
    for example in examples():
        with Image.open(example.path) as picture:
            width, height = picture.size
        assert len(example.labels) == len(example.boxes)
        assert set(example.labels) <= set(CLASSES)
        for x0, y0, x1, y1 in example.boxes:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height


def test_preprocessing_takes_any_size_and_mode() -> None:
    for mode in ("L", "RGB", "RGBA"):
        assert preprocess(Image.new(mode, (50, 200))).shape == (3, 128, 128)


def test_preprocessing_is_the_stated_formula() -> None:
    pixels = np.full((1, 2, 2, 3), 255, dtype=np.uint8)
    expected = [(1 - m) / s for m, s in zip(preprocess.mean, preprocess.std, strict=True)]
    torch.testing.assert_close(preprocess.normalised(pixels)[0, :, 1, 1], torch.tensor(expected))
