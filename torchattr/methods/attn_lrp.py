"""Attention-aware layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchattr.core.types import Forward, OutputKey
from torchattr.layers import Gamma
from torchattr.methods._relevance.composites import ATTENTION, FROZEN, RuleSettings
from torchattr.methods._relevance.relevance import RelevanceAttribution, Start
from torchattr.methods.registry import register_method


@register_method("attn_lrp")
class AttnLRP(RelevanceAttribution):
    """Relevance through attention: halves at both of its products, the gradient at its softmax.

    In the currency of gradients the rules of Achtibat et al. 2024 (arXiv:2402.05602) are the plain
    backward of attention with a quarter for queries and keys and half for values. Normalisations
    have their statistics frozen, activations are `f(x) / x`, products share by halves, and linear
    layers and convolutions have the ε or, with a `gamma`, the γ rule.

    The softmax does not conserve relevance (the paper's rule has a bias term); the ledger shows how
    much (`return_ledger=True`). It is *not* a map of attention weights.

    Args:
        gamma: of linear layers; 0 is the ε rule.
        conv_gamma: of convolutions, such as the patch embedding.
        epsilon: what stabilises denominators; 0 is in proportion to the contributions.
        start: as for :class:`LRP`.
        rules: rules by operation that replace these.
        output: as for every method, see :class:`Attribution`.
        strict: as for :class:`LRP`.

    Raises:
        RuleError: a negative `gamma`.
        NoRuleMatched: an operation that is neither linear nor known carries relevance.

    >>> import torch, torchattr as ta
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    >>> model = torch.nn.Sequential(layer, torch.nn.Flatten(), torch.nn.Linear(32, 2))
    >>> ta.AttnLRP(model).attribute(torch.rand(1, 4, 8), target=1).shape
    torch.Size([1, 4, 8])
    """

    def __init__(
        self,
        model: Forward,
        *,
        gamma: float = 0.0,
        conv_gamma: float = 0.0,
        epsilon: float = 0.0,
        start: Start = "score",
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        linear, conv = (_weighted(value, epsilon) for value in (gamma, conv_gamma))
        super().__init__(
            model,
            {"linear": linear, "conv": conv},
            RuleSettings(epsilon=epsilon),
            base={**FROZEN, **ATTENTION},
            start=start,
            rules=rules,
            output=output,
            strict=strict,
        )
        self._chosen = {
            "gamma": gamma,
            "conv_gamma": conv_gamma,
            "epsilon": epsilon,
            "start": None if start == "score" else start,
        }

    def _settings(self) -> dict[str, Any]:
        return {**self._chosen, **super()._settings()}


def _weighted(gamma: float, epsilon: float) -> Any:
    """Return the rule of convolutions or linear layers."""
    if gamma:
        return Gamma(gamma, epsilon)
    return "epsilon" if epsilon else "zero"
