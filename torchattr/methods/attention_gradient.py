"""Attention times its gradient, composed over the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.arguments import check_choice
from torchattr.core.inputs import Inputs
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.layers import RuleTable
from torchattr.methods._gradient.attention_chain import AttentionLayer, Queries
from torchattr.methods._gradient.grids import LayoutChoice
from torchattr.methods._gradient.memory import Memory
from torchattr.methods._relevance.accounting import refuse_zero
from torchattr.methods._relevance.composites import FROZEN, IN_PLACE, RuleSettings, composite_of
from torchattr.methods.attention import AttentionAttribution
from torchattr.methods.registry import register_method

Weights = Literal["attention", "relevance"]


@register_method("attention_gradient")
class AttentionGradient(AttentionAttribution):
    """The layers' attention times its gradient, composed: `R ← R + mean_h (∂s/∂A · A)⁺ R`.

    From `R = I`, layer by layer, for the score `s`. Shown is the row of the class token, as a map
    `(N, 1, h, w)` on the grid of the patches. Chefer, Gur and Wolf, ICCV 2021, arXiv:2103.15679
    (self-attention). Attention that pools the tokens for the score enters by its gradient only.

    With `weights="relevance"` it is the form of their CVPR 2021 paper, arXiv:2012.09838, known as
    transformer attribution: the gradient multiplies the relevance `R_A` of each matrix instead of
    the matrix, `R ← R + mean_h (∂s/∂A · R_A)⁺ R`. The score counts as 1 and is propagated by z⁺
    through linear layers and convolutions, whose biases take nothing, by halves through products,
    in its place through activations, norms and softmax, and through sums in proportion to the
    magnitudes of their shares.

    It is *not* a decomposition of the score: it adds up to nothing, shows no evidence against the
    target, and its patches are as coarse as the model's tokens. Where tokens are averaged for the
    score, the rows of `R - I` are, since each token has the same share of `I`.

    Args:
        layers: as for :class:`AttentionRollout`.
        weights: what the gradient of each matrix multiplies: the `"attention"` itself, or its
            `"relevance"`.
        queries: as for :class:`AttentionRollout`.
        layout: as for :class:`AttentionRollout`.

    Raises:
        LayerError: as for :class:`AttentionRollout`; or, with relevance, it is not known which
            dimension of a residual sum the examples are in.
        DisconnectedError: the target does not depend on the attention.
        InputError: with relevance, a score is 0.
        NoRuleMatched: with relevance, an operation that is neither linear nor known carries it.

    >>> import timm, torch, torchattr as ta
    >>> model = timm.create_model("vit_tiny_patch16_224", img_size=(32, 64), depth=2).eval()
    >>> ta.AttentionGradient(model).attribute(torch.rand(1, 3, 32, 64), target=7).shape
    torch.Size([1, 1, 2, 4])
    >>> method = ta.AttentionGradient(model, weights="relevance")
    >>> method.attribute(torch.rand(1, 3, 32, 64), target=7).shape
    torch.Size([1, 1, 2, 4])
    """

    reads_gradients: ClassVar[bool] = True
    shows_start: ClassVar[bool] = False

    def __init__(
        self,
        model: Forward,
        layers: Layers | None = None,
        *,
        weights: Weights = "attention",
        queries: Queries | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(
            model, layers, queries=queries, layout=layout, output=output, memory=memory
        )
        check_choice("weights", weights, get_args(Weights))
        self.weights: Weights = weights

    @property
    def combines_at_once(self) -> bool:
        # A score of 0 is refused, which depends on its value.
        return self.weights == "attention" and super().combines_at_once

    def tables(self, inputs: Inputs) -> Sequence[RuleTable]:
        if self.weights == "attention":
            return super().tables(inputs)
        settings = RuleSettings(epsilon=0.0, zero_bias=True, examples=inputs.batch_size)
        base = {**FROZEN, **IN_PLACE}
        return [self.table, composite_of(_POSITIVE, settings, self.model, base=base)]

    def mixing(self, layer: AttentionLayer) -> Tensor:
        weights = layer.matrix() if self.weights == "attention" else _relevance(layer)
        positive = (layer.matrix_gradient() * weights).relu().mean(1)
        return positive + torch.eye(
            positive.shape[-1], dtype=positive.dtype, device=positive.device
        )

    def _settings(self) -> dict[str, Any]:
        weights = None if self.weights == "attention" else self.weights
        return {"weights": weights, **super()._settings()}


def _relevance(layer: AttentionLayer) -> Tensor:
    """Return the relevance of a matrix for a score that counts as 1: half of that of its product.

    Raises:
        InputError: the score is 0.
    """
    scores = layer.scores
    refuse_zero(scores, "weights='relevance'", "explain another target, or use weights='attention'")
    relevance = layer.matrix() * layer.matrix_gradient(of_pass=1) / 2
    return relevance / scores.to(relevance).view(-1, 1, 1, 1)


_POSITIVE: Mapping[str, str] = MappingProxyType(dict.fromkeys(("conv", "linear"), "z_plus"))
