"""Attention rollout: the attention of all layers, multiplied."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.arguments import check_choice
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.errors import InputError
from torchattr.methods._gradient.attention_chain import AttentionLayer, Queries
from torchattr.methods._gradient.grids import LayoutChoice
from torchattr.methods._gradient.memory import Memory
from torchattr.methods.attention import AttentionAttribution
from torchattr.methods.registry import register_method

Fusion = Literal["mean", "max", "min"]


@register_method("attention_rollout")
class AttentionRollout(AttentionAttribution):
    """The product of all layers' attention, with the residual: `Π_l norm(fuse_h A_lh + I)`.

    Row by row, each factor is divided by its sum; the last layer is on the left. Shown is the row
    of the class token, as a map `(N, 1, h, w)` on the grid of the patches. Abnar and Zuidema 2020,
    arXiv:2005.00928, average the heads; the other ways to fuse them, and to discard the lowest
    weights, are common practice.

    It is *not* an attribution to a target: it is the same for each, and takes values, projections
    and MLPs for the identity. Attention in windows (Swin) has no such product.

    Args:
        layers: the layers whose attention is multiplied, which are the modules that run it or
            contain those; all by default.
        head_fusion: how the heads become one matrix: their `"mean"`, `"max"` or `"min"`.
        discard_ratio: which share of each fused matrix is set to 0, the lowest weights first.
        start_layer: number of layers that are left out at the beginning.
        queries: whose row is shown: `"class"` of the first token, `"mean"` of all tokens; by
            default that of the tokens that the score depends on behind the last layer.
        layout: the layout of the tokens, as for :class:`GradCAM`; by default it is inferred.

    Raises:
        LayerError: the model runs no attention, or in windows, or between different tokens; the
            number of tokens changes; or the tokens form no grid that is known.
        InputError: an option out of its range.

    >>> import timm, torch, torchattr as ta
    >>> model = timm.create_model("vit_tiny_patch16_224", img_size=(32, 64), depth=2).eval()
    >>> ta.AttentionRollout(model).attribute(torch.rand(1, 3, 32, 64)).shape
    torch.Size([1, 1, 2, 4])
    """

    def __init__(
        self,
        model: Forward,
        layers: Layers | None = None,
        *,
        head_fusion: Fusion = "mean",
        discard_ratio: float = 0.0,
        start_layer: int = 0,
        queries: Queries | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(
            model, layers, queries=queries, layout=layout, output=output, memory=memory
        )
        check_choice("head_fusion", head_fusion, get_args(Fusion))
        if not 0 <= discard_ratio < 1:
            raise InputError(f"discard_ratio must be at least 0 and below 1, got {discard_ratio}")
        if start_layer < 0:
            raise InputError(f"start_layer must be at least 0, got {start_layer}")
        self.head_fusion = head_fusion
        self.discard_ratio = discard_ratio
        self.start_layer = start_layer

    @property
    def span(self) -> slice:
        return slice(self.start_layer, None)

    def mixing(self, layer: AttentionLayer) -> Tensor:
        kept = self._kept(_FUSIONS[self.head_fusion](layer.matrix()))
        mixed = kept + torch.eye(kept.shape[-1], dtype=kept.dtype, device=kept.device)
        return mixed / mixed.sum(-1, keepdim=True)

    def _kept(self, fused: Tensor) -> Tensor:
        """Return a matrix without the share of its weights that is discarded."""
        flat = fused.flatten(1)
        count = int(flat.shape[1] * self.discard_ratio)
        if not count:
            return fused
        lowest = flat.topk(count, largest=False).indices
        return flat.scatter(1, lowest, 0).view_as(fused)

    def _settings(self) -> dict[str, Any]:
        own = {
            "head_fusion": None if self.head_fusion == "mean" else self.head_fusion,
            "discard_ratio": self.discard_ratio or None,
            "start_layer": self.start_layer or None,
        }
        return {**own, **super()._settings()}


_FUSIONS = {
    "mean": lambda heads: heads.mean(1),
    "max": lambda heads: heads.amax(1),
    "min": lambda heads: heads.amin(1),
}
