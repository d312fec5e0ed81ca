"""Guided Grad-CAM: guided backpropagation times the enlarged, rectified map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused
from networks import Net, cam, channels_first, channels_last, conv, head, pictures, pooled
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, NotSpatialWarning


def network() -> Net:
    def run(net: Any, x: Tensor) -> Tensor:
        return pooled(net, net.last(net.first(x).relu()).relu())

    return Net(run, first=conv(), last=nn.Conv2d(8, 8, 3, 2, 1), head=head())


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "area"])
def test_is_the_product_of_both(mode: str) -> None:
    net, x = network(), pictures(2, 3, 8, 12)
    corners = {"align_corners": False} if mode == "bilinear" else {}
    weight = F.interpolate(
        cam(net, "last", x, channels_first).relu(), (8, 12), mode=mode, **corners
    )
    found = ta.GuidedGradCAM(net, "last").attribute(x, 1, interpolate_mode=mode)
    assert_same(found, ta.GuidedBackprop(net).attribute(x, 1) * weight, 1e-12)


def test_several_layers_are_a_dict() -> None:
    net, x = network(), pictures(2, 3, 8, 12)
    found = ta.GuidedGradCAM(net, ["first", "last"]).attribute(x, 1)
    assert list(found) == ["first", "last"]
    for name, product in found.items():
        assert_same(product, ta.GuidedGradCAM(net, name).attribute(x, 1))


def test_guided_grad_cam_of_channels_last() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        h = net.last(net.first(x).relu().permute(0, 2, 3, 1))
        return net.head(h.mean((1, 2)))

    net = Net(run, first=nn.Conv2d(3, 8, 3, 2, 1), last=nn.LayerNorm(8), head=head())
    x = pictures(2, 3, 8, 12)
    weight = F.interpolate(cam(net, "last", x, channels_last).relu(), (8, 12))
    found = ta.GuidedGradCAM(net, "last").attribute(x, target=1)
    torch.testing.assert_close(found, ta.GuidedBackprop(net).attribute(x, target=1) * weight)


def test_an_input_that_no_map_can_be_enlarged_to_gets_an_empty_tensor() -> None:
    def run(net: Any, x: Tensor, table: Tensor) -> Tensor:
        return pooled(net, net.first(x).relu()) + net.table(table).relu()

    net = Net(run, first=conv(), head=head(), table=nn.Linear(5, 3))
    x, table = pictures(2, 3, 8, 8), noise(2, 5)
    with pytest.warns(NotSpatialWarning, match=r"inputs\[1\]"):
        picture, nothing = ta.GuidedGradCAM(net, "first").attribute((x, table), 1)
    assert picture.shape == x.shape
    assert nothing.shape == (0,)


def test_modes_that_do_not_exist() -> None:
    net, x = network(), pictures(1, 3, 8, 8)
    with refused(InputError, "interpolate_mode", "'bilinear'", "'cubic'"):
        ta.GuidedGradCAM(net, "last").attribute(x, 1, interpolate_mode="cubic")
    with refused(InputError, "interpolate_mode", "'trilinear'"):
        ta.GuidedGradCAM(net, "last").attribute(x, 1, interpolate_mode="trilinear")
