"""Attention times its gradient, composed over the layers."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from torchattr.methods._gradient.attention_chain import AttentionLayer
from torchattr.methods.attention import AttentionAttribution
from torchattr.methods.registry import register_method


@register_method("attention_gradient")
class AttentionGradient(AttentionAttribution):
    """The layers' attention times its gradient, composed: `R ← R + mean_h (∂s/∂A · A)⁺ R`.

    From `R = I`, layer by layer, for the score `s`. Shown is the row of the class token, as a map
    `(N, 1, h, w)` on the grid of the patches. Chefer, Gur and Wolf, ICCV 2021, arXiv:2103.15679
    (self-attention). Attention that pools the tokens for the score enters by its gradient only.

    It is *not* a decomposition of the score: it adds up to nothing, shows no evidence against the
    target, and its patches are as coarse as the model's tokens. Where tokens are averaged for the
    score, the rows of `R - I` are, since each token has the same share of `I`.

    Args:
        layers: as for :class:`AttentionRollout`.
        queries: as for :class:`AttentionRollout`.
        layout: as for :class:`AttentionRollout`.

    Raises:
        LayerError: as for :class:`AttentionRollout`.
        DisconnectedError: the target does not depend on the attention.

    >>> import timm, torch, torchattr as ta
    >>> model = timm.create_model("vit_tiny_patch16_224", img_size=(32, 64), depth=2).eval()
    >>> ta.AttentionGradient(model).attribute(torch.rand(1, 3, 32, 64), target=7).shape
    torch.Size([1, 1, 2, 4])
    """

    reads_gradients: ClassVar[bool] = True
    shows_start: ClassVar[bool] = False

    def mixing(self, layer: AttentionLayer) -> Tensor:
        positive = (layer.matrix_gradient() * layer.matrix()).relu().mean(1)
        return positive + torch.eye(
            positive.shape[-1], dtype=positive.dtype, device=positive.device
        )
