"""Rules of the first layer, whose result is relevance itself.

They give a share also to inputs that are 0, so it cannot be a gradient times the input. With `R`
the relevance of the output:

| rule         | denominators                | relevance of the input, `s = R / z`         |
|--------------|-----------------------------|---------------------------------------------|
| `w_square`   | `z = W² 1 + [b²]`           | `W²ᵀ s`                                     |
| `flat`       | `z = 1ᵀ 1`                  | `1ᵀ s`                                      |
| `z_box`      | `z = W x - W⁺ l - W⁻ h`     | `x · Wᵀ s - l · W⁺ᵀ s - h · W⁻ᵀ s`          |

Montavon et al. 2017 (1512.02479), Lapuschkin et al. 2019 (10.1038/s41467-019-08987-4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.core.warn import warn
from torchattr.errors import RuleError, TorchattrWarning
from torchattr.layers.composite import WEIGHTED
from torchattr.layers.operations.operation import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import batchable
from torchattr.layers.rules.relevance.affine import AffineLayer, affine_backward
from torchattr.layers.rules.relevance.linear import RelevanceRule
from torchattr.layers.rules.relevance.terms import Term, Weights


class TerminalRule(RelevanceRule):
    """A rule whose result is relevance, also where an input is 0; nothing may change it below."""

    terminal: ClassVar[bool] = True


@register_rule(WEIGHTED, "w_square")
@batchable
class WSquare(TerminalRule):
    """Relevance in proportion to the squared weights, whatever the input."""

    def weights(self, layer: AffineLayer) -> Sequence[Weights]:
        squares = layer.weight.square()
        return (Weights(squares, squares),)

    def terms(
        self, layer: AffineLayer, weights: Sequence[Weights], x: Tensor, z: Tensor
    ) -> Iterator[Term]:
        bias = self._bias(layer.bias.square())
        yield Term(layer.apply(torch.ones_like(x), weights[0].positive, bias), bias)


@register_rule(WEIGHTED, "flat")
@batchable
class Flat(TerminalRule):
    """Relevance evenly to all inputs of an output, whatever weights and input."""

    def weights(self, layer: AffineLayer) -> Sequence[Weights]:
        ones = torch.ones_like(layer.weight)
        return (Weights(ones, ones),)

    def terms(
        self, layer: AffineLayer, weights: Sequence[Weights], x: Tensor, z: Tensor
    ) -> Iterator[Term]:
        yield Term(layer.apply(torch.ones_like(x), weights[0].positive))


@register_rule(WEIGHTED, "z_box")
@batchable
class ZBox(TerminalRule):
    """For inputs within bounds: `x · Wᵀ s - l · W⁺ᵀ s - h · W⁻ᵀ s`, where `s = R / z`.

    Args:
        low: the lowest value that an input can have: a number, or one that broadcasts to it, also
            with a row for each example.
        high: the highest value.
        epsilon: as for :class:`RelevanceRule`.
        zero_bias: without effect, since the biases cancel.

    Inputs outside of the bounds are warned of.

    Raises:
        RuleError: a bound is missing or not finite, or `low` is above `high`; in a backward, one
            that does not broadcast to the input.
    """

    def __init__(
        self,
        low: Tensor | float | None = None,
        high: Tensor | float | None = None,
        epsilon: float = 1e-6,
        zero_bias: bool = False,
    ) -> None:
        super().__init__(epsilon, zero_bias)
        if low is None or high is None:
            raise RuleError(
                "the z_box rule needs the bounds of the input: low and high, numbers or tensors"
                " that broadcast to it"
            )
        self.low, self.high = _checked_bound(low, "low"), _checked_bound(high, "high")
        if bool((self.low > self.high).any()):
            raise RuleError(f"low must not be above high, got low={low}, high={high}")
        self._example = (0, 1)

    def of_example(self, number: int, count: int) -> ZBox:
        own = copy(self)
        own._example = number, count
        return own

    def has_rows(self, count: int) -> bool:
        return any(one.dim() > 1 and len(one) == count > 1 for one in (self.low, self.high))

    def weights(self, layer: AffineLayer) -> Sequence[Weights]:
        return (Weights(layer.weight, layer.weight),)

    def terms(
        self, layer: AffineLayer, weights: Sequence[Weights], x: Tensor, z: Tensor
    ) -> Iterator[Term]:
        low, high = self._bounds(x)
        _warn_of_values_outside(x, low, high)
        lowest = layer.apply(low, layer.weight.clamp(min=0))
        highest = layer.apply(high, layer.weight.clamp(max=0))
        yield Term(layer.apply(x, layer.weight) - lowest - highest)

    def _back(self, call: Call, x: Tensor, signal: Tensor, weights: Weights) -> Tensor:
        low, high = self._bounds(x)
        every = weights.positive
        of_low = low * affine_backward(call, signal, every.clamp(min=0))
        of_high = high * affine_backward(call, signal, every.clamp(max=0))
        return x * affine_backward(call, signal, every) - of_low - of_high

    def _bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self._own_rows(self.low, x), self._own_rows(self.high, x)
        return _expanded(low, "low", x), _expanded(high, "high", x)

    def _own_rows(self, bound: Tensor, x: Tensor) -> Tensor:
        """Return the rows of the example that the rule is for, of bounds with some for each."""
        (number, count), rows = self._example, len(x)
        of_each = bound.dim() == x.dim() and len(bound) == count * rows
        return bound[number * rows : (number + 1) * rows] if of_each else bound


def _warn_of_values_outside(x: Tensor, low: Tensor, high: Tensor) -> None:
    rounding = 8 * torch.finfo(x.dtype).eps * torch.maximum(low.abs(), high.abs())
    outside = (x < low - rounding) | (x > high + rounding)
    if bool(outside.any()):
        warn(
            f"the rule z_box is for inputs between low and high, here {_extent(low, high)}, but"
            f" {int(outside.sum())} of {x.numel()} are outside, within {_extent(x, x)}: their share"
            " may have the wrong sign. Pass the bounds of what the layer is given, prepared as the"
            " inputs are: (0 - mean) / std and (1 - mean) / std for images",
            TorchattrWarning,
        )


def _extent(low: Tensor, high: Tensor) -> str:
    return f"[{low.min().item():.4g}, {high.max().item():.4g}]"


def _checked_bound(value: Any, name: str) -> Tensor:
    value = plain_numbers(value)
    if not isinstance(value, (int, float, Tensor)):
        raise RuleError(
            f"{name} must be a number or a tensor that broadcasts to the input, such as"
            f" (1, 3, 1, 1), got {type(value).__name__}"
        )
    # In double precision, which a number would lose as a tensor of its own.
    bound = torch.as_tensor(value, dtype=torch.float64)
    if not bool(bound.isfinite().all()):
        raise RuleError(f"{name} must be finite, got {value}")
    return bound


def _expanded(bound: Tensor, name: str, x: Tensor) -> Tensor:
    try:
        return bound.to(x).expand(x.shape)
    except RuntimeError as error:
        raise RuleError(
            f"{name} has shape {tuple(bound.shape)}, which does not broadcast to the input's"
            f" {tuple(x.shape)}; pass a number, or a value for each channel in the shape"
            f" (1, {', '.join(map(str, [x.shape[1], *(1 for _ in x.shape[2:])]))})"
        ) from error
