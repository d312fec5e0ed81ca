"""The weights of Grad-CAM++, from one or several gradients."""

from __future__ import annotations

from torch import Tensor


def second_order_weights(values: Tensor, slopes: Tensor, quotients: Tensor) -> Tensor:
    """Return `Σ_p (slopes)⁺ / (2 + quotients · Σ_p A)` of each channel, `(N, C, 1, ...)`.

    Terms with a denominator of 0 are 0.

    Args:
        values: the activations `A`, `(N, C, ...)`.
        slopes: the gradients `g`, or their mean.
        quotients: `g³ / g²`, so the gradients again; of several, the quotient of the means.
    """
    spatial = tuple(range(2, values.dim()))
    totals = values.sum(spatial, keepdim=True) if spatial else values
    below = 2 + quotients * totals
    terms = slopes.relu() / below.where(below != 0, 1) * (below != 0)
    return terms.sum(spatial, keepdim=True) if spatial else terms
