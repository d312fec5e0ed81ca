"""How the layers of known architectures are read: which one is chosen, as which grid, and where."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import refused
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


@pytest.mark.parametrize("tokens", [0, 1])
def test_queries_and_keys_by_head_are_never_read(tokens: int) -> None:
    """Though their sizes, heads × tokens × channels, look like those of a picture."""

    def run(net: Any, x: Tensor) -> Tensor:
        h = net.stem(x).flatten(2).mT
        h = torch.cat([net.extra.expand(len(x), tokens, -1), h], 1)
        q, k, v = net.qkv(h).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(net.q_norm(q), net.k_norm(k), v)
        return net.head(net.out(mixed.transpose(1, 2).flatten(2)).mean(1))

    parts = {"q_norm": nn.LayerNorm(4), "k_norm": nn.LayerNorm(4), "qkv": nn.Linear(8, 24)}
    extra = nn.Parameter(torch.rand(1, 1, 8))
    net = Net(
        run, stem=nn.Conv2d(3, 8, 4, 4), extra=extra, out=nn.Linear(8, 8), head=head(), **parts
    )
    x = pictures(2, 3, 16, 24)
    maps = ta.feature_maps(net, x, ["q_norm", "k_norm"])
    for name in parts.keys() - {"qkv"}:
        with refused(ta.LayerError, name, "layout="):
            ta.GradCAM(net, name).attribute(x, target=1)
        with refused(ta.LayerError, name):
            maps.as_maps(name)
    with pytest.warns(ta.LayerChoiceWarning, match="layer='out'"):
        ta.GradCAM(net).attribute(x, target=1)


TORCHVISION = {"library": "torchvision"}
SMALL = {"img_size": (64, 96)}

FAMILIES: list[tuple[str, dict[str, Any], tuple[int, int], str, str, tuple[int, int]]] = [
    ("vit_tiny_patch16_224", SMALL, (64, 96), "blocks.11.norm1", "tokens", (4, 6)),
    (
        "vit_tiny_patch16_224",
        {"dynamic_img_size": True},
        (96, 64),
        "blocks.11.norm1",
        "tokens",
        (6, 4),
    ),
    (
        "vit_tiny_patch16_224",
        {"img_size": (64, 96), "global_pool": "avg"},
        (64, 96),
        "norm",
        "tokens",
        (4, 6),
    ),
    (
        "vit_tiny_patch16_224",
        {"img_size": (64, 96), "global_pool": "map", "class_token": False},
        (64, 96),
        "norm",
        "tokens",
        (4, 6),
    ),
    (
        "vit_tiny_patch16_224",
        {"img_size": (64, 96), "qk_norm": True},
        (64, 96),
        "blocks.11.norm1",
        "tokens",
        (4, 6),
    ),
    ("vit_relpos_small_patch16_224", SMALL, (64, 96), "norm", "tokens", (4, 6)),
    (
        "deit_tiny_distilled_patch16_224",
        SMALL,
        (64, 96),
        "blocks.11.norm1",
        "tokens",
        (4, 6),
    ),
    (
        "deit3_small_patch16_224",
        SMALL,
        (64, 96),
        "blocks.11.norm1",
        "tokens",
        (4, 6),
    ),
    (
        "vit_small_patch14_dinov2",
        {"img_size": (56, 84)},
        (56, 84),
        "blocks.11.norm1",
        "tokens",
        (4, 6),
    ),
    (
        "vit_small_patch14_reg4_dinov2",
        {"img_size": (56, 84)},
        (56, 84),
        "blocks.11.norm1",
        "tokens",
        (4, 6),
    ),
    ("vit_small_patch16_dinov3", {}, (64, 96), "norm", "tokens", (4, 6)),
    ("vit_base_patch16_siglip_224", SMALL, (64, 96), "norm", "tokens", (4, 6)),
    ("naflexvit_base_patch16_gap", {}, (64, 96), "norm", "tokens", (4, 6)),
    ("eva02_tiny_patch14_224", {"img_size": (56, 84)}, (56, 84), "norm", "tokens", (4, 6)),
    ("beit_base_patch16_224", SMALL, (64, 96), "norm", "tokens", (4, 6)),
    ("samvit_base_patch16_224", SMALL, (64, 96), "neck", "channels first", (4, 6)),
    (
        "swin_tiny_patch4_window7_224",
        {"img_size": (128, 192), "window_size": 4},
        (128, 192),
        "norm",
        "channels last",
        (4, 6),
    ),
    (
        "swinv2_tiny_window8_256",
        {"img_size": (128, 192), "window_size": 4},
        (128, 192),
        "norm",
        "channels last",
        (4, 6),
    ),
    ("swinv2_cr_tiny_224", {}, (224, 224), "stages", "channels first", (7, 7)),
    ("maxvit_rmlp_pico_rw_256", {}, (256, 256), "norm", "channels first", (8, 8)),
    (
        "cait_xxs24_224",
        SMALL,
        (64, 96),
        "blocks_token_only.1.norm1",
        "tokens",
        (4, 6),
    ),
    ("xcit_nano_12_p16_224", {}, (96, 160), "cls_attn_blocks.1.norm1", "tokens", (6, 10)),
    ("pvt_v2_b0", {}, (128, 192), "stages", "channels first", (4, 6)),
    ("twins_svt_small", {}, (224, 224), "norm", "tokens", (7, 7)),
    ("coat_lite_tiny", {}, (224, 224), "serial_blocks4.1.norm1", "tokens", (7, 7)),
    ("levit_128s", {}, (224, 224), "stages", "tokens", (4, 4)),
    ("mvitv2_tiny", {}, (224, 224), "norm", "tokens", (7, 7)),
    ("hiera_tiny_224", {}, (224, 224), "blocks.11", "tokens", (7, 7)),
    ("hieradet_small", {}, (224, 224), "blocks.15", "channels last", (7, 7)),
    ("convnext_atto", {}, (128, 192), "norm_pre", "channels first", (4, 6)),
    ("mixer_s32_224", {}, (224, 224), "norm", "tokens", (7, 7)),
    ("resmlp_12_224", {}, (224, 224), "norm", "tokens", (14, 14)),
    ("gmixer_12_224", {}, (224, 224), "norm", "tokens", (14, 14)),
    ("poolformer_s12", {}, (128, 192), "stages", "channels first", (4, 6)),
    ("mobilevit_xxs", {}, (128, 192), "final_conv", "channels first", (4, 6)),
    ("mobilevitv2_050", {}, (128, 192), "final_conv", "channels first", (4, 6)),
    ("crossvit_9_240", {}, (240, 240), "blocks.2.fusion.1.norm1", "tokens", (20, 20)),
    ("tnt_s_legacy_patch16_224", {}, (224, 224), "blocks.11.norm_out", "tokens", (14, 14)),
    ("volo_d1_224", {"img_size": (128, 192)}, (128, 192), "aux_head", "tokens", (8, 12)),
    ("nest_tiny", {}, (224, 224), "norm", "channels last", (14, 14)),
    (
        "vit_b_16",
        TORCHVISION,
        (224, 224),
        "encoder.layers.encoder_layer_11.ln_1",
        "tokens",
        (14, 14),
    ),
    ("swin_t", TORCHVISION, (128, 192), "permute", "channels first", (4, 6)),
    ("swin_v2_t", TORCHVISION, (128, 192), "permute", "channels first", (4, 6)),
    ("maxvit_t", TORCHVISION, (224, 224), "blocks.3", "channels first", (7, 7)),
]
"""Name, options, size of the image, the layer that is chosen, and how it is read: kind and grid."""


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family[0]} {family[1]}")
def test_architectures(family: Any) -> None:
    name, options, size, layer, kind, grid = family
    net, x = made(name, options, size), torch.randn(2, 3, *size)
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


def made(name: str, options: dict[str, Any], size: tuple[int, int]) -> nn.Module:
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
    _calibrate(net, torch.randn(4, 3, *size))
    return net.eval()


def _calibrate(net: nn.Module, x: Tensor) -> None:
    """Let batch-norms see what they normalise, which else fades or grows from layer to layer."""
    net.eval()
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = None
            part.reset_running_stats()
            part.train()
    with torch.no_grad():
        net(x)
