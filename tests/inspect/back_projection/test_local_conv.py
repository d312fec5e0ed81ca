from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise, seeded, sent_back
from torch import nn

from torchattr.inspect.back_projection.local_conv import LocalConv, bounding_box, within

CONVOLUTIONS = {
    "plain": lambda: nn.Conv2d(2, 4, 3),
    "strided": lambda: nn.Conv2d(2, 4, 3, 2, 1),
    "gaps": lambda: nn.Conv2d(2, 4, 2, 3),
    "dilated": lambda: nn.Conv2d(2, 4, 3, 1, 2, 2),
    "groups": lambda: nn.Conv2d(2, 4, 3, 1, 2, groups=2),
    "same": lambda: nn.Conv2d(2, 4, (4, 3), padding="same"),
    "transposed": lambda: nn.ConvTranspose2d(2, 4, 3, 2, 1),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("places", [[(0, 0)], [(-1, -1)], [(1, 2), (2, 1)], []])
def test_a_local_convolution_is_the_whole_one(name: str, places: list) -> None:
    model, x = seeded(CONVOLUTIONS[name]).double(), noise(2, 2, 10, 9)
    grad = torch.zeros_like(model(x).detach())
    for number, (row, column) in enumerate(places):
        grad[number % 2, :, row, column] = noise(4, seed=number)
    found = sent_back(model, x, grad, {"conv": LocalConv()})
    if places:
        assert_same(found, sent_back(model, x, grad), 1e-14)
    else:
        assert not found.any()


def test_the_box_of_what_is_not_zero() -> None:
    values = torch.zeros(2, 5, 4)
    assert bounding_box(values) is None
    values[0, 1, 2], values[1, 3, 0] = 1, float("nan")
    box = bounding_box(values)
    assert box == (slice(1, 4), slice(0, 3))
    assert values[within(box)].shape == (2, 3, 3)
