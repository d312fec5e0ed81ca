"""The features that Quantus' metrics replace: elements of an example, some at once."""

from __future__ import annotations

import torch
from torch import Tensor


def elements(x: Tensor, step: int = 1) -> Tensor:
    """Return a feature mask of each `step` neighbouring elements of an example.

    >>> elements(torch.zeros(2, 1, 1, 5), 2).tolist()
    [[[[0, 0, 1, 1, 2]]]]
    """
    numbers = torch.arange(x[0].numel(), device=x.device) // step
    return numbers.reshape(1, *x.shape[1:])


def ranked(maps: Tensor, x: Tensor, step: int) -> Tensor:
    """Return a feature mask of each `step` elements that follow each other in the order of a map.

    >>> ranked(torch.tensor([[[[3.0, 1.0, 2.0, 4.0]]]]), torch.zeros(1, 1, 1, 4), 2).tolist()
    [[[[0, 1, 1, 0]]]]
    """
    rows = maps.expand_as(x).flatten(1)
    order = rows.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(rows.shape[1], device=x.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(1, order, places)
    return (ranks // step).reshape(x.shape)
