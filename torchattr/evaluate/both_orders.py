"""Curves of one map by both orders: the most relevant first, and the least relevant first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchattr.core.warn import said_once
from torchattr.evaluate.curves import Curve, mean_over


@dataclass(frozen=True, eq=False)
class BothOrders:
    """The curves of one map by both orders; what every removal does cancels in their difference.

    Attributes:
        most: with the features of the largest attribution first ("MoRF").
        least: with those of the smallest first ("LeRF").
    """

    most: Curve
    least: Curve

    @property
    def combined(self) -> Tensor:
        """Half the mean difference over the steps, `mean_k (least_k - most_k) / 2`.

        `(N,)` or `(N, targets)`; for deletion the higher, the better, and 0 is chance. Of
        :func:`torchattr.evaluate.road` it is pytorch-grad-cam's `ROADCombined`.
        """
        apart = self.least.scores - self.most.scores
        return mean_over(apart[..., 1:], self.most.distinct[..., 1:]) / 2

    @property
    def area_between(self) -> Tensor:
        """The area between the curves, `least.auc - most.auc`, `(N,)` or `(N, targets)`.

        Schulz et al. 2020, arXiv:2001.00396. For deletion the higher, the better, and 0 is chance.
        """
        return self.least.auc - self.most.auc

    def __repr__(self) -> str:
        return f"BothOrders(combined {self.combined.nanmean().item():.3f} on average)"


def both_orders(metric: Callable[..., Curve], *args: Any, **options: Any) -> BothOrders:
    """Measure curves by both orders.

    Two maps that remove the same share of the picture are told apart by what they remove first; the
    difference of the curves is free of what any removal does to the score. For deletion, the higher
    :attr:`BothOrders.combined` and :attr:`BothOrders.area_between`, the better; 0 is chance. It is
    *not* free of the baseline, nor does it tell which of the two ends of a map is right.

    Args:
        metric: one of :func:`torchattr.evaluate.deletion_curve`, `insertion_curve`,
            `pixel_flipping`, `region_perturbation` and `road`.
        args: its arguments.
        options: its keywords, without `order`.

    Returns:
        the curves; both are NaN, with one warning, for maps without an order.

    Raises:
        TypeError: `order` is among the keywords.
        TorchattrError: whatever the metric raises.

    >>> import torch
    >>> from torchattr.evaluate import pixel_flipping
    >>> x, weights = torch.ones(1, 3), torch.tensor([[3.0, 1.0, 2.0]])
    >>> both = both_orders(pixel_flipping, lambda x: x @ weights.T, x, weights)
    >>> both.combined, both.area_between
    (tensor([0.6667]), tensor([1.3333]))
    """
    # A map without an order has neither.
    most, least = said_once(
        lambda: [metric(*args, order=order, **options) for order in ("most", "least")]
    )
    return BothOrders(most, least)
