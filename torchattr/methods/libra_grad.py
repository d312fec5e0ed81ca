"""Input times the gradient of the network with frozen gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchattr.core.types import Forward, OutputKey
from torchattr.methods._relevance.composites import RuleSettings
from torchattr.methods._relevance.relevance import RelevanceAttribution
from torchattr.methods.registry import register_method


@register_method("libra_grad")
class LibraGrad(RelevanceAttribution):
    """Input × gradient, with activations, normalisations and attention weights as constants.

    With `f(x) = f(0) + x · (f(x) - f(0)) / x` for activations, `(x - μ) / σ` with constant `σ`,
    `A v` with constant `A`, and half of a product's gradient to each factor, the network is linear
    in the input: `f(x) = Σ x · g + Σ c · g_c` over biases and other constants `c`, exactly. Mehri
    et al. 2025 (arXiv:2411.16760), extended to all operations.

    It is *not* the gradient: nothing in it tells how the score reacts to a change of attention
    weights or of statistics. Biases keep their share; the ledger shows it (`return_ledger=True`).

    Args:
        rules: rules by operation that replace the frozen ones.
        output: as for every method, see :class:`Attribution`.
        strict: as for :class:`LRP`.

    Raises:
        NoRuleMatched: an operation that is neither linear nor known carries relevance.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.LayerNorm(3), torch.nn.GELU(), torch.nn.Linear(3, 2))
    >>> (ledger,) = ta.LibraGrad(model).ledgers(torch.rand(1, 3), target=1)
    >>> abs(ledger.error) < 1e-6
    True
    """

    def __init__(
        self,
        model: Forward,
        *,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(model, "zero", RuleSettings(), rules=rules, output=output, strict=strict)
