"""Layouts that the user names."""

from typing import Any

import pytest
import torch
from networks import (
    Net,
    cam,
    channels_first,
    channels_last,
    conv,
    head,
    pictures,
    through,
    tokens,
    vit,
)
from torch import Tensor, nn

import torchattr as ta
from torchattr.methods._gradient.grids import grid_of_tokens

X = pictures(2, 3, 8, 12)


def found(net: nn.Module, layer: str, layout: Any, inputs: Any = X) -> Tensor:
    result: Tensor = ta.GradCAM(net, layer, layout=layout).attribute(inputs, target=1)
    return result


def test_named_layouts_give_what_is_found_out() -> None:
    first = through(lambda net, x: net.first(x))
    torch.testing.assert_close(found(first, "last", "channels_first"), found(first, "last", None))
    with_class = vit(1)
    wanted = found(with_class, "blocks", None)
    torch.testing.assert_close(found(with_class, "blocks", "tokens"), wanted)
    last = Net(
        lambda net, x: net.head(net.last(net.first(x).movedim(1, -1)).mean((1, 2))),
        first=conv(),
        last=nn.LayerNorm(8),
        head=head(),
    )
    torch.testing.assert_close(
        found(last, "last", "channels_last"), cam(last, "last", X, channels_last)
    )


def test_a_function_reads_what_torchattr_cannot() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        h = net.first(x).flatten(2).transpose(1, 2).flip(1)
        return net.head(net.last(h).mean(1))

    net = Net(run, first=conv(), last=nn.LayerNorm(8), head=head())
    with pytest.raises(ta.LayerError, match="layout="):
        found(net, "last", None)
    read = lambda values: tokens(8, 12)(values.flip(1))  # noqa: E731
    torch.testing.assert_close(found(net, "last", read), cam(net, "last", X, read))


def test_tables_have_no_places() -> None:
    net = Net(lambda net, x: net.head(net.hidden(x).relu()), hidden=nn.Linear(5, 8), head=head())
    with pytest.warns(ta.NotSpatialWarning, match="GradCAM: layer 'hidden' has no positions"):
        assert found(net, "hidden", None, pictures(2, 5)).shape == (2, 1)


@pytest.mark.parametrize("layout", ["rows", 3, ["tokens"]])
def test_unknown_layouts(layout: Any) -> None:
    with pytest.raises(ta.errors.InputError, match="layout must be one of"):
        ta.GradCAM(vit(1), "blocks", layout=layout)


def test_layouts_that_do_not_fit() -> None:
    net = through(lambda net, x: net.first(x))
    with pytest.raises(ta.errors.ShapeError, match="tokens"):
        found(net, "last", "tokens")
    frames = Net(
        lambda net, x: net.head(
            net.first(x.flatten(0, 1)).mean((2, 3)).view(len(x), -1, 8).mean(1)
        ),
        first=conv(),
        head=head(),
    )
    for layout in (None, "channels_first", channels_first):
        with pytest.raises(ta.LayerError, match=r"rows|batch"):
            found(frames, "first", layout, pictures(2, 4, 3, 8, 8))


@pytest.mark.parametrize(
    ("count", "height", "width", "wanted"),
    [
        (196, 224, 224, (14, 14)),
        (201, 224, 224, (14, 14)),
        (50, 32, 64, (5, 10)),
        (1, 8, 8, (1, 1)),
    ],
)
def test_grids_of_tokens(count: int, height: int, width: int, wanted: tuple[int, int]) -> None:
    assert grid_of_tokens(count, height, width) == wanted


def test_precision_is_that_of_the_layer() -> None:
    net = through(lambda net, x: net.first(x)).float()

    def run(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return net(x).float()

    got = ta.GradCAM(run, net.last).attribute(X.float(), target=1)
    wanted = cam(net, "last", X.float(), channels_first)
    assert (got.float() - wanted).abs().max() < 0.05 * wanted.abs().max()
