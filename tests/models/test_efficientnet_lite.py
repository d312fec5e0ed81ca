"""The layers of EfficientNet-Lite0, against padding and sizes computed otherwise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchattr as ta
from torchattr.models.efficientnet_lite import ConvUnit, EfficientNetLite0


def test_the_number_of_parameters_is_the_published_one() -> None:
    """4.7 million (the paper's repository): 4 652 008."""
    assert sum(one.numel() for one in EfficientNetLite0().parameters()) == 4_652_008


@pytest.mark.parametrize("size", [7, 8, 9, 12])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2), (1, 1)])
def test_padding_is_the_least_that_reaches_every_pixel(kernel: int, stride: int, size: int) -> None:
    """As TensorFlow's SAME: the output has `ceil(size / stride)`; what is odd goes to the end."""
    unit = ConvUnit(2, 3, kernel, stride, rectified=False).double().eval()
    x = torch.randn(1, 2, size, size + 1, dtype=torch.float64)
    out = [-(-length // stride) for length in x.shape[2:]]
    padded = x
    for axis, (length, wanted) in enumerate(zip(x.shape[2:], out, strict=True)):
        total = max((wanted - 1) * stride + kernel - length, 0)
        sides = [0, 0, 0, 0]
        sides[2 * (1 - axis)], sides[2 * (1 - axis) + 1] = total // 2, total - total // 2
        padded = F.pad(padded, sides)
    expected = unit.norm(F.conv2d(padded, unit.conv.weight, stride=stride))
    assert list(expected.shape[2:]) == out
    torch.testing.assert_close(unit(x), expected)


def test_a_block_adds_its_input_where_shapes_allow() -> None:
    net = EfficientNetLite0()
    assert [block.adds for block in net.blocks].count(True) == 9
    assert isinstance(net.blocks[0].expand, nn.Identity)


def test_every_way_of_looking_inside_works() -> None:
    net, x = EfficientNetLite0().eval(), torch.randn(1, 3, 64, 64)
    assert net.features(x).shape == (1, 1280, 2, 2)
    assert ta.feature_maps(net, x, "blocks.5")["blocks.5"].shape == (1, 80, 4, 4)
    ablated = ta.Occlusion(net).attribute(
        x, target=3, sliding_window_shapes=(3, 32, 32), strides=(3, 32, 32)
    )
    dense = ta.Occlusion(net).attribute(
        x, target=3, sliding_window_shapes=(3, 32, 32), strides=(3, 32, 32), incremental=False
    )
    torch.testing.assert_close(ablated, dense, rtol=1e-4, atol=1e-5)
