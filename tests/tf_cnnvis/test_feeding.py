"""What is fed to a call: the model, the images, and additional arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import noise, refused
from torch import Tensor, nn

from torchattr.errors import InputError, InputTypeError
from torchattr.models import load_model
from torchattr.tf_cnnvis.feeding import Feed


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x: Tensor, shift: Any = 0) -> Tensor:
        return self.weight * x + shift


X = noise(2, 3, 4, 4)


def test_images_take_the_type_of_the_model() -> None:
    model = Scaled()
    feed = Feed.of(model, X.numpy(), None)
    assert feed.run is model
    assert feed.images.dtype == torch.float32
    assert torch.equal(feed.images, X.float())
    assert (feed.loaded, feed.chunk) == (None, None)


def test_further_arguments_are_bound_and_maps_go_back_one_by_one() -> None:
    model = Scaled()
    feed = Feed.of(model, {"shift": np.array([2.0]), "x": X}, "x")
    assert torch.equal(feed.run(feed.images), 3 * X.float() + 2)
    assert feed.run.__self__ is model
    assert feed.chunk == 1


def test_a_loaded_model_draws_images_as_they_were_read() -> None:
    demo = load_model("demo", device="cpu")
    for model in (demo, "demo"):
        feed = Feed.of(model, torch.zeros(1, 3, 8, 8), None)
        assert feed.loaded is not None
        # Zero is the mean of the normalisation.
        mean = np.asarray(feed.picture(feed.images[0])).mean((0, 1)) / 255
        np.testing.assert_allclose(mean, [0.46, 0.40, 0.34], atol=0.02)


def test_an_image_of_an_unknown_model_is_stretched() -> None:
    drawn = np.asarray(Feed.of(Scaled(), X, None).picture(X[0]))
    assert (drawn.min(), drawn.max()) == (0, 255)


@pytest.mark.parametrize(
    ("value", "name", "said"),
    [({"x": X, "y": X}, None, "'x', 'y'"), ({"x": X}, "z", "got 'z'"), ({}, None, "nothing")],
)
def test_images_that_are_not_named_are_refused(value: Any, name: str | None, said: str) -> None:
    with refused(InputError, "input_tensor must name", said):
        Feed.of(Scaled(), value, name)


def test_what_are_no_images_is_refused() -> None:
    with refused(InputTypeError, "must hold images", "str"):
        Feed.of(Scaled(), "photo.jpg", None)
