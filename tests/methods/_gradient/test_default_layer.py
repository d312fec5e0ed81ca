"""The layer that is chosen when none is named."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import refused
from networks import (
    Net,
    conv,
    head,
    patchify,
    pictures,
    pooled,
    through,
    vit,
    windowed,
    with_heads,
)
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import LayerError

X = pictures(2, 3, 8, 12)


def chosen(net: nn.Module, inputs: Any = X, target: Any = 1, **options: Any) -> str:
    with pytest.warns(ta.LayerChoiceWarning) as warned:
        ta.GradCAM(net, **options).attribute(inputs, target=target)
    return str(warned[0].message).partition("layer=")[2].strip("'")


def test_the_last_with_a_grid() -> None:
    assert chosen(through(lambda net, x: net.first(x))) == "last"
    pooling = Net(
        lambda net, x: net.head(net.pool(net.first(x)).flatten(1)),
        first=conv(),
        pool=nn.AdaptiveAvgPool2d(1),
        head=head(),
    )
    assert chosen(pooling) == "first"


def test_layouts_other_than_channels_first() -> None:
    assert chosen(windowed(2)) == "last"
    assert chosen(vit(1)) == "blocks"
    assert chosen(patchify("reshape")) == "last"


def test_tokens_that_the_target_reads() -> None:
    """From the class token alone, no gradient reaches the grid of the last block.

    The norm of the last block would do, but not its last call, which is the one that counts.
    """
    assert chosen(vit(1, pool="class")) == "blocks.0"
    assert chosen(vit(0, 1, pool="last")) == "blocks.0"


class Levels(nn.Module):
    """A head that is called for each level of a pyramid, the last of which is a single pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.shared = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.body(x)
        return sum(self.shared(F.adaptive_avg_pool2d(fine, size)).mean((2, 3)) for size in (4, 1))


def test_the_last_call_of_a_layer_counts() -> None:
    assert chosen(Levels().double()) == "body"


def test_layers_that_no_gradient_comes_back_to_are_named() -> None:
    class Frozen(Levels):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                fine = self.body(x)
            return self.shared(fine.mean((2, 3), keepdim=True)).flatten(1)

    with refused(LayerError, "'body'", "no_grad", "layer="):
        ta.GradCAM(Frozen().double()).attribute(X, target=1)


def test_projections_to_heads_and_their_weights_are_passed_over() -> None:
    net = with_heads()
    assert chosen(net) == "last"
    net.last = nn.Identity()
    assert chosen(net) not in ("qkv", "weights")


def test_a_table_before_a_picture() -> None:
    net = Net(
        lambda net, table, x: pooled(net, net.first(x) * net.table(table)[..., None, None]),
        first=conv(),
        table=nn.Linear(5, 8),
        head=head(),
    )
    assert chosen(net, (pictures(2, 5), X)) == "first"


def two_heads(net: Any, x: Tensor) -> dict[str, Tensor]:
    h = net.stem(x).relu()
    return {
        "main": net.head(net.main(h).mean((2, 3))),
        "other": net.other_head(net.other(h).mean((2, 3))),
    }


@pytest.mark.parametrize("task", ["main", "other"])
def test_the_way_to_the_target(task: str) -> None:
    """Layers of another task ran later, but do not affect this one."""
    net = Net(two_heads, stem=conv(), main=conv(8), other=conv(8), head=head(), other_head=head())
    assert chosen(net, output=task) == task


def test_a_neuron_has_its_own_last_layer() -> None:
    net = through(lambda net, x: net.second(net.first(x)), second=conv(8))
    assert chosen(net, target=ta.Neuron("first", (1, 2, 3))) == "first"


def test_a_part_that_is_cut_off_is_no_choice() -> None:
    net = through(lambda net, x: net.second(net.first(x)).detach() + net.first(x), second=conv(8))
    assert chosen(net) == "last"
    cut = Net(
        lambda net, x: pooled(net, net.first(x)) + 0 * net.second(x.detach()).mean(),
        first=conv(),
        second=conv(),
        head=head(),
    )
    assert chosen(cut) == "first"


def gray_planes(net: Any, x: Tensor) -> Tensor:
    planes = net.gray(x.flatten(0, 1)[:, None])
    scores: Tensor = net.head(planes.mean((2, 3)).view(2, 3, 8).mean(1))
    return scores


@pytest.mark.parametrize(
    "run",
    [
        lambda net, x: net.head(net.linear(x.flatten(1))),
        lambda net, x: pooled(net, net.first(x.flip(3))),
        gray_planes,
    ],
)
def test_no_layer_is_better_than_a_wrong_one(run: Any) -> None:
    net = Net(run, first=conv(), gray=conv(1), linear=nn.Linear(288, 8), head=head())
    with refused(LayerError, "layer=", "layout="):
        ta.GradCAM(net).attribute(X, target=1)


def test_long_grids_that_are_no_picture() -> None:
    """An image squeezed along one side has a different aspect ratio from the input."""
    net = through(
        lambda net, x: net.first(F.adaptive_avg_pool2d(net.stem(x), (1, 12))), stem=conv(3, 3)
    )
    with pytest.warns(ta.LayerChoiceWarning, match="stem"):
        ta.GradCAM(net).attribute(X, target=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [
        ("gcvit_xxtiny", 224, 7),
        ("vit_tiny_patch16_224", 224, 14),
        ("deit_tiny_distilled_patch16_224", 224, 14),
        ("crossvit_tiny_240", 240, 20),
        ("swinv2_cr_tiny_224", 224, 7),
        ("davit_tiny", 224, 7),
        ("tiny_vit_5m_224", 224, 7),
    ],
)
def test_architectures(name: str, size: int, grid: int) -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model(name, pretrained=False).eval()
    with pytest.warns(ta.LayerChoiceWarning):
        found = ta.GradCAM(net).attribute(torch.rand(1, 3, size, size), target=1)
    assert found.shape == (1, 1, grid, grid)
    assert found.any()


def test_grids_of_another_aspect_are_named_and_not_taken() -> None:
    class Resized(nn.Module):
        """Resizes every input to the same square."""

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(F.interpolate(x, (12, 12))).relu().mean((2, 3))

    with refused(LayerError, "input's aspect", "'body' with a grid of (12, 12)", "layer="):
        ta.GradCAM(Resized().double()).attribute(pictures(1, 3, 8, 24), target=1)
