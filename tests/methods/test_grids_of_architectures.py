"""How the layers of known architectures are read: which one is chosen, as which grid, and where."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from networks import Block, Net, head, pictures
from places import captured, grids_of, share_at_their_place
from torch import Tensor, nn

import torchattr as ta


def transformer(kind: str) -> Net:
    """A vision transformer whose tokens lie in the given way."""

    def run(net: Any, x: Tensor) -> Tensor:
        h = net.stem(x)
        h = (h.permute(0, 2, 3, 1) if kind == "channels last" else h.flatten(2).mT) + 0
        tokens = net.extra.expand(len(x), -1, -1)
        h = {
            "class token first": lambda: torch.cat([tokens[:, :1], h], 1),
            "class token last": lambda: torch.cat([h, tokens[:, :1]], 1),
            "registers": lambda: torch.cat([tokens[:, :1], tokens[:, 1:], h], 1),
            "registers on both sides": lambda: torch.cat([tokens[:, :1], h, tokens[:, 1:]], 1),
        }.get(kind, lambda: h)()
        h = net.blocks(h.flatten(1, -2)).view(h.shape)
        return net.head(net.last(h).flatten(1, -2).mean(1))

    parts = {"blocks": nn.Sequential(Block(), Block()), "last": nn.LayerNorm(8), "head": head()}
    extra = nn.Parameter(torch.rand(1, 5, 8))
    return Net(run, stem=nn.Conv2d(3, 8, 4, 4), extra=extra, **parts)


@pytest.mark.parametrize("size", [(16, 24), (24, 16), (20, 20)])
@pytest.mark.parametrize(
    "kind",
    [
        *("patches alone", "channels last", "class token first", "class token last"),
        *("registers", "registers on both sides"),
    ],
)
def test_each_position_is_that_of_its_patch(kind: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net, x = transformer(kind), pictures(2, 3, *size)
    grids = grids_of(captured(net, x))
    assert {"stem", "blocks.0", "blocks.1", "last"} <= set(grids)
    assert {layout.sizes for layout in grids.values()} == {(size[0] // 4, size[1] // 4)}
    shares = share_at_their_place(net, x, grids)
    assert {name: share for name, share in shares.items() if share < 1} == {}


FAMILIES: list[tuple[str, dict[str, Any], tuple[int, int], str, str, tuple[int, int]]] = []


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: "-".join(map(str, family[:2])))
def test_architectures(family: Any) -> None:
    name, options, size, layer, kind, grid = family
    net, x = made(name, options), torch.randn(2, 3, *size)
    calls = captured(net, x)
    grids = grids_of(calls)
    with pytest.warns(ta.LayerChoiceWarning, match=f"layer='{layer}'"):
        found = ta.GradCAM(net).attribute(x, target=1)
    assert found.shape == (2, 1, *grid)
    assert found.any()
    assert (grids[layer].kind, grids[layer].sizes) == (kind, grid)
    shares = share_at_their_place(net, x, grids)
    assert shares[layer] >= 0.75
    assert sum(shares.values()) / len(shares) > 0.9
    for inside, call in calls.items():
        if inside.endswith(("q_norm", "k_norm", "attn_drop", "softmax")) and inside in grids:
            assert len(call.shapes[0]) == 3, f"{inside} has heads"


def made(name: str, options: dict[str, Any]) -> nn.Module:
    """Make a model in which nothing is zero, and whose batch-norms see what they normalise."""
    torch.manual_seed(0)
    if options.get("library") == "torchvision":
        net = pytest.importorskip("torchvision").models.get_model(name, weights=None, num_classes=5)
    else:
        timm = pytest.importorskip("timm")
        net = timm.create_model(name, pretrained=False, num_classes=5, **options)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.numel() and parameter.abs().max() < 1e-3:
                parameter.normal_(std=0.1).add_(0.3 if parameter.dim() == 1 else 0)
    return net.eval()
