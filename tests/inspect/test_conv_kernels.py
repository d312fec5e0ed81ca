"""Kernels of any convolution, by output channel, in colours whose middle is zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import noise, refused, seeded
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import torchattr as ta
from torchattr.errors import InputError, LayerError
from torchattr.show.elements import Raster


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, self.weight), self.weight[:, :1], groups=4).relu()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv1d(3, 4, 5),
        nn.Conv2d(3, 4, 5),
        nn.Conv3d(3, 4, 2),
        nn.Conv2d(4, 8, 3, groups=2),
    ],
)
def test_kernels_are_the_weights(conv: Any) -> None:
    found = ta.conv_kernels(nn.Sequential(conv), "0")
    assert torch.equal(found.values, conv.weight)
    assert not found.values.requires_grad
    assert found.values.data_ptr() != conv.weight.data_ptr()
    assert found.picture().mode == "RGB"
    assert found.picture("mean").mode == "RGB"
    assert found.picture("channels").mode == "RGB"


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_kernels_are_ordered_by_output_channel(groups: int) -> None:
    conv = nn.ConvTranspose2d(4, 6, 3, groups=groups, bias=False)
    values = ta.conv_kernels(nn.Sequential(conv), "0").values
    assert values.shape == (6, 4 // groups, 3, 3)
    for channel in range(4):
        one = torch.zeros(1, 4, 1, 1)
        one[0, channel] = 1
        group, within = divmod(channel, 4 // groups)
        outputs = slice(group * 6 // groups, (group + 1) * 6 // groups)
        assert torch.allclose(conv(one)[0, outputs], values[outputs, within])


def test_channels_are_chosen() -> None:
    conv = nn.Conv2d(8, 16, 3)
    found = ta.conv_kernels(
        nn.Sequential(conv), conv, output_channels=[3, -1], input_channels=range(2, 5)
    )
    assert torch.equal(found.values, conv.weight[[3, 15]][:, 2:5])
    assert (found.layer, found.output_channels, found.input_channels) == ("0", (3, 15), (2, 3, 4))
    assert repr(found) == "Kernels(0 (2, 3, 3, 3))"


def test_kernels_of_a_forward() -> None:
    model, x = seeded(Functional), noise(1, 3, 6, 6, dtype=torch.float32)
    assert torch.equal(ta.conv_kernels(model, "conv", x).values, model.weight)
    assert ta.conv_kernels(model, "conv#2", x).values.shape == (4, 1, 2, 2)
    with refused(LayerError, "'cnov'", "did you mean 'conv'"):
        ta.conv_kernels(model, "cnov", x)
    with refused(LayerError, "'relu' is relu, not a convolution"):
        ta.conv_kernels(model, "relu", x)


def test_reparametrised_kernels_are_those_that_are_used() -> None:
    conv = parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    model, x = nn.Sequential(conv).eval(), noise(1, 3, 6, 6, dtype=torch.float32)
    assert torch.equal(ta.conv_kernels(model, "0").values, conv.weight)
    assert torch.equal(ta.conv_kernels(model, "0", x).values, conv.weight)


MODES: tuple[Any, ...] = ("rgb", "mean")


def test_zero_is_the_middle_of_the_colours() -> None:
    conv = nn.Conv2d(3, 1, 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[[0.0, 2.0], [-2.0, 1.0]]] * 3]))
    rgb, mean = (
        next(one.pixels for one in drawn.elements if isinstance(one, Raster))
        for drawn in (ta.conv_kernels(nn.Sequential(conv), "0").draw(mode) for mode in MODES)
    )
    corners = [rgb[y, x].tolist() for y in (0, -1) for x in (0, -1)]
    assert corners == [[128] * 3, [255] * 3, [0] * 3, [191] * 3]
    zero, positive, negative = (mean[y, x].astype(int) for y, x in ((0, 0), (0, -1), (-1, 0)))
    assert zero.min() > 240
    assert positive[0] > positive[2]
    assert negative[2] > negative[0]


def test_auto_takes_colour_single_channels_or_the_mean() -> None:
    for conv, mode in (
        (nn.Conv2d(3, 4, 3), "rgb"),
        (nn.Conv2d(1, 4, 3), "channels"),
        (nn.Conv2d(5, 4, 3), "mean"),
        (nn.Conv3d(3, 4, 3), "mean"),
    ):
        found = ta.conv_kernels(nn.Sequential(conv), "0")
        assert np.array_equal(found.picture(), found.picture(mode))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "options", "error", "words"),
    [
        ("1", {}, LayerError, ("'1' is ReLU, not a convolution",)),
        ("2", {}, LayerError, ("'2' is Linear, not a convolution",)),
        ("9", {}, LayerError, ("no layer '9'",)),
        ("3", {}, LayerError, ("is lazy", "run the model once")),
        ("0", {"output_channels": 4}, InputError, ("output_channels must be within 0..3", "got 4")),
        ("0", {"input_channels": []}, InputError, ("input_channels is empty",)),
        ("0", {"mode": "rgb", "input_channels": 0}, InputError, ("mode='rgb'", "(4, 1, 3, 3)")),
        ("0", {"mode": "row"}, InputError, ("mode must be one of", "'row'")),
        ("0", {"cell": 4096, "mode": "channels"}, InputError, ("more than 100,000,000",)),
    ],
)
def test_what_has_no_kernels_is_refused(
    layer: str, options: Any, error: type[Exception], words: Any
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(2, 2), LAZY)
    with refused(error, *words):
        ta.show_kernels(model, layer, **options)


LAZY = nn.LazyConv2d(2, 3)


def test_kernels_without_values_are_refused() -> None:
    with pytest.raises(LayerError, match="on the device meta, where kernels have no values"):
        ta.conv_kernels(nn.Sequential(nn.Conv2d(1, 1, 1, device="meta")), "0")
