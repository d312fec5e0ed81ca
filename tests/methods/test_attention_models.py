"""Methods of attention on transformers of timm and torchvision, against NumPy from eager models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from helpers import assert_same, noise, refused
from torch import Tensor

import torchattr as ta
from torchattr.errors import LayerError

timm = pytest.importorskip("timm")

SMALL = {"depth": 2, "embed_dim": 32, "num_heads": 2, "num_classes": 5, "pretrained": False}
MODELS: list[tuple[str, Any, tuple[int, int], str]] = [
    ("vit_tiny_patch16_224", (32, 64), (2, 4), "class"),
    ("deit3_small_patch16_224", (48, 48), (3, 3), "class"),
    ("vit_small_patch14_reg4_dinov2", (28, 42), (2, 3), "class"),
    ("vit_base_patch16_siglip_224", (48, 48), (3, 3), "all"),
    ("eva02_tiny_patch14_224", (42, 42), (3, 3), "patches"),
    ("vit_medium_patch16_reg4_gap_256", (48, 48), (3, 3), "patches"),
]


def made(name: str, size: Any) -> Any:
    torch.manual_seed(0)
    model = timm.create_model(name, img_size=size, **SMALL).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Attention that is the same everywhere and layer scales near 0 would prove little.
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def eager(model: Any, x: Tensor) -> tuple[list[Any], list[Any]]:
    """Return the matrices and gradients of the blocks, whose softmax is made explicit."""
    found: list[Tensor] = []
    handles = []
    for block in model.blocks:
        block.attn.fused_attn = False
        keep = block.attn.attn_drop.register_forward_hook(lambda *call: found.append(call[2]))
        handles.append(keep)
    with torch.enable_grad():
        score = model(x.clone().requires_grad_())[:, 1].sum()
    gradients = torch.autograd.grad(score, found)
    for handle in handles:
        handle.remove()
    for block in model.blocks:
        block.attn.fused_attn = True
    return [one.detach().numpy() for one in found], [one.numpy() for one in gradients]


def rows(full: Any, read: str, patches: int) -> Any:
    """Return the mean of the rows that the head reads, of the matrices of all images."""
    first = {"class": slice(0, 1), "all": slice(None), "patches": slice(-patches, None)}[read]
    return full[:, first].mean(1)[:, -patches:]


@pytest.mark.parametrize(("name", "size", "grid", "read"), MODELS, ids=lambda one: str(one))
def test_maps_are_those_of_an_eager_model(name: str, size: Any, grid: Any, read: str) -> None:
    model, x = made(name, size), noise(2, 3, *size)
    matrices, gradients = eager(model, x)
    eye = np.eye(matrices[0].shape[-1])
    mixed = [matrix.mean(1) + eye for matrix in matrices]
    first, second = (one / one.sum(-1, keepdims=True) for one in mixed)
    positive = [np.maximum(a * g, 0).mean(1) for a, g in zip(matrices, gradients, strict=True)]
    expected = {
        ta.RawAttention: matrices[-1].mean(1),
        ta.AttentionRollout: second @ first,
        ta.AttentionGradient: (eye + positive[1]) @ (eye + positive[0]) - eye,
    }
    for method, full in expected.items():
        shown = torch.tensor(rows(full, read, grid[0] * grid[1])).view(2, 1, *grid)
        assert_same(method(model).attribute(x, 1), shown, 1e-10)
    legrad = ta.LeGrad(model).attribute(x, 1)
    assert legrad.shape == (2, 1, *grid)
    assert_same(legrad.amax((1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_torchvision_vit() -> None:
    torch.manual_seed(0)
    model: Any = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    model.double().eval()
    with torch.no_grad():
        model.heads.head.weight.normal_()
    x, seen = noise(2, 3, 32, 32), []
    attention = model.encoder.layers[-1].self_attention
    hook = attention.register_forward_hook(lambda *call: seen.append(call[1]))
    model(x)
    hook.remove()
    weights = attention(*seen[0], average_attn_weights=True)[1].detach()
    expected = weights[:, 0, 1:].view(2, 1, 4, 4)
    assert_same(ta.RawAttention(model).attribute(x, 1), expected, 1e-12)
    for method in (ta.AttentionRollout, ta.AttentionGradient, ta.LeGrad):
        assert method(model).attribute(x, 1).shape == (2, 1, 4, 4)


@pytest.mark.parametrize("size", [32, 64])
def test_swin_is_refused(size: int) -> None:
    model = torchvision.models.SwinTransformer([4, 4], 12, [2, 2], [2, 2], [4, 4], num_classes=5)
    model.double().eval()
    for method in (ta.AttentionRollout, ta.AttentionGradient, ta.LeGrad):
        with refused(LayerError, method.__name__, "windows", "GradCAM"):
            method(model).attribute(noise(1, 3, size, size), 1)
