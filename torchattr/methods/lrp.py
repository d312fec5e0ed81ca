"""Layer-wise relevance propagation."""

from __future__ import annotations

from torchattr.methods._relevance.by_composite import RelevanceByComposite
from torchattr.methods._relevance.relevance import RelevanceAttribution
from torchattr.methods.registry import register_method


@register_method("lrp")
class LRP(RelevanceByComposite, RelevanceAttribution):
    """Layer-wise relevance propagation: the score, distributed layer by layer to the inputs.

    Each operation hands the relevance of its output to its inputs: a convolution or linear layer by
    a rule of the composite, everything else in proportion to the contributions with the gates,
    statistics and attention weights of the forward frozen. A batch-norm that alone reads a
    convolution is one operation with it. Networks need no rewriting: functional, in-place and
    reused layers, residual sums and concatenations share as they are.

    Bach et al. 2015 (10.1371/journal.pone.0130140); composites: Kohlbrenner et al. 2020
    (arXiv:1910.09840); for attention: Ali et al. 2022 (arXiv:2202.07304).

    The result is *not* what the score would lose without an input, and a sum that equals the score
    proves nothing about a single value: see the ledger (`return_ledger=True`).

    Args:
        composite: `"epsilon_plus"` (z⁺ for convolutions, ε for linear layers),
            `"epsilon_alpha2_beta1"`, both also with `"_flat"` for the first layer,
            `"epsilon_gamma_box"` (γ, ε, and z_box for the first), `"excitation_backprop"`
            (z⁺) and `"excitation_backprop_opposite"` (of negated weights in the last layer),
            `"zero"` (the gradient of the frozen network); or a table of rules, by name or object,
            whose keys are operations (`"conv"`), kinds of operations (`"norm"`), names or patterns
            of layers (`"layer1.*"`), `"first"` and `"last"`. `{"batch_norm": "pass"}`, for any
            kind of norm, leaves relevance in its place, and a batch-norm on its own.
        epsilon: what stabilises denominators.
        gamma: of the γ rule.
        zero_params: `"bias"` leaves biases out of the denominators, so that they take no relevance;
            of no effect on `"zero"`, which has none.
        low: the lowest value that an input can have, for z_box: a number or tensor.
        high: the highest value.
        start: `"score"` (the map sums to what reaches the inputs of it) or `"one"`.
        rules: rules by operation that replace those of the composite.
        output: as for every method, see :class:`Attribution`.
        strict: see :class:`GradientAttribution`; here for operations that are neither linear nor
            known.

    Raises:
        RuleError: an unknown composite, rule, operation or layer; α - β is not 1; `low` above
            `high`; a rule for the first layer whose relevance something below would change.
        NoRuleMatched: an operation that is neither linear nor known carries relevance.
        InputTypeError: inputs in half precision, whose denominators overflow.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> relevance, (ledger,) = ta.LRP(model).attribute(torch.ones(1, 3), 1, return_ledger=True)
    >>> relevance.shape, abs(ledger.error) < 1e-6
    (torch.Size([1, 3]), True)
    """
