"""Rank features by an attribution, and build nested subsets of features from the ranks."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.core.inputs import Inputs
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.ranks import has_order
from torchattr.methods import FeatureMasks, Segments

CurveKind = Literal["insertion", "deletion"]

Ranking = Literal["most", "least"]
"""Whether the features of the largest attribution come first, or those of the smallest."""


class Nested(FeatureMasks):
    """Masks that replace more and more features: the first ones of an order, or all but these.

    Args:
        ranks: for each input the rank of each element's feature, `(N, ...)`.
        counts: the number of features at each step of each example, `(steps + 1, N)`; nothing is
            replaced at the first of them, which is no step.
        first: whether the first features are replaced; otherwise the others are.
    """

    def __init__(self, ranks: Sequence[Tensor], counts: Tensor, *, first: bool) -> None:
        self._ranks, self._counts, self._first = ranks, counts, first

    def __len__(self) -> int:
        return len(self._counts) - 1

    @property
    def cumulative(self) -> bool:
        return True

    @property
    def per_example(self) -> bool:
        return True

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        steps = self._counts[start + 1 : stop + 1]
        return [self._mask(ranks, _beside(steps, ranks)) for ranks in self._ranks]

    def differing(self, start: int, stop: int) -> list[Tensor | None]:
        before, after = self._counts[start:stop], self._counts[start + 1 : stop + 1]
        return [
            self._mask(ranks, _beside(before, ranks)) ^ self._mask(ranks, _beside(after, ranks))
            for ranks in self._ranks
        ]

    def _mask(self, ranks: Tensor, limits: Tensor) -> Tensor:
        return ranks < limits if self._first else ranks >= limits


class Order(NamedTuple):
    """An order of each example's features.

    Attributes:
        ranks: for each input the rank of each element's feature from 0 on, `(N, ...)`. Pictures
            whose features span all channels have one for each pixel, `(N, 1, h, w)`.
        is_defined: whether the features of each example differ, or there is only one, `(N,)`;
            otherwise the ranks are those of their numbers.
    """

    ranks: list[Tensor]
    is_defined: Tensor


def order_of(features: Segments, attributions: Sequence[Tensor], first: Ranking = "most") -> Order:
    """Return the order of features by an attribution.

    The attribution of a feature is the mean over its elements; ties keep the order of numbers.

    Args:
        features: the elements of each feature.
        attributions: for each input a tensor that broadcasts to it.
        first: which features come first.

    Raises:
        InputError: an unknown order.
    """
    if first not in get_args(Ranking):
        raise InputError(f"order must be 'most' or 'least', got {first!r}")
    means, counts = features.means(attributions)
    present = counts > 0
    is_alone = present.sum(1) == 1  # There is one order, whatever the map says.
    is_defined = is_alone | has_order(means, present, counts.amax(1))
    means = means if first == "most" else -means
    order = means.masked_fill(~present, -torch.inf).argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    elements = features.to_elements(ranks.T[:, :, None])
    return Order([_of_pixels(part[:, 0]) for part in elements], is_defined)


def _of_pixels(ranks: Tensor) -> Tensor:
    """Return ranks without the channels, if all of these are equal."""
    alike = ranks.dim() > 2 and torch.equal(ranks, ranks[:, :1].expand_as(ranks))
    return ranks[:, :1] if alike else ranks


def counts_of(fractions: Tensor, sizes: Tensor) -> Tensor:
    """Return the number of features for each fraction and example: `(fractions, N)`.

    Args:
        fractions: shares of the features.
        sizes: each example's number of features.
    """
    return (fractions[:, None] * sizes.to(fractions)).round().long()


def nested(ranks: Sequence[Tensor], counts: Tensor, kind: CurveKind) -> Nested:
    """Return the masks of all steps except the end at which nothing is replaced.

    Deletion replaces the first features of the order; insertion those not inserted yet, where the
    last step comes first, so that each step replaces more.
    """
    if kind == "deletion":
        return Nested(ranks, counts, first=True)
    return Nested(ranks, counts.flip(0), first=False)


def _beside(counts: Tensor, ranks: Tensor) -> Tensor:
    """Return counts `(steps, N)` in a shape that broadcasts with ranks `(N, ...)`."""
    return counts.to(ranks.device).reshape(*counts.shape, *(1 for _ in ranks.shape[1:]))


def as_fractions(steps: Any, features: int) -> Tensor:
    """Return the fractions to measure at, from 0 to 1: at most one step per feature.

    Raises:
        InputTypeError: `steps` is not a number.
        InputError: it is out of range.

    >>> as_fractions(4, 100).tolist(), as_fractions(0.4, 100).tolist()
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.4, 0.8, 1.0])
    """
    steps = plain_numbers(steps)
    if isinstance(steps, bool) or not isinstance(steps, (int, float)):
        raise InputTypeError(f"steps must be an int, or a fraction, got {type(steps).__name__}")
    if not (steps >= 1 if isinstance(steps, int) else 0 < steps < 1):
        raise InputError(
            "steps must be an int of at least 1, or the fraction of each step as a float between 0"
            f" and 1, got {steps}"
        )
    if steps >= features or steps * features <= 1:
        return torch.linspace(0, 1, features + 1, dtype=torch.float64)
    if isinstance(steps, int):
        return torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    whole = torch.arange(ceil(1 / steps - 1e-9), dtype=torch.float64) * steps
    return torch.cat([whole, torch.ones(1, dtype=torch.float64)])


def pixels(tensors: Sequence[Tensor]) -> Segments:
    """Return a mask with one feature per position, or per element of rows `(N, C)`.

    >>> len(pixels([torch.zeros(1, 3, 4, 5)])), len(pixels([torch.zeros(1, 6)]))
    (20, 6)
    """
    masks, count = [], 0
    for tensor in tensors:
        size = tensor.shape[2:] if tensor.dim() > 2 else tensor.shape[1:]
        numbers = torch.arange(count, count + size.numel(), device=tensor.device)
        masks.append(numbers.reshape(1, *(1 for _ in tensor.shape[2:3]), *size))
        count += size.numel()
    return Segments([tensor.shape for tensor in tensors], masks)


def as_orders(attributions: Any, inputs: Inputs, targets: int) -> list[list[Tensor]]:
    """Return one attribution per input, for each target or once for all of them.

    Args:
        attributions: a tensor for each input, in the inputs' form: it broadcasts to the input, or
            does so without its second dimension, which then counts targets.
        inputs: the attributed inputs.
        targets: number of targets.

    Raises:
        InputTypeError: an attribution that is not a tensor.
        ShapeError: a wrong count, or a tensor that does not fit.
        InputError: NaN or infinite values.
    """
    given = attributions if isinstance(attributions, (tuple, list)) else (attributions,)
    if len(given) != len(inputs.tensors):
        raise ShapeError(
            f"attributions has {len(given)} entries for {len(inputs.tensors)} inputs; pass one for"
            " each input"
        )
    names = [f"attributions[{i}]" if inputs.is_tuple else "attributions" for i in range(len(given))]
    parts = [
        _by_target(value, tensor, targets, name)
        for value, tensor, name in zip(given, inputs.tensors, names, strict=True)
    ]
    if len({len(part) for part in parts}) > 1:
        raise ShapeError("attributions must all have a dimension for targets, or none of them")
    return [list(one) for one in zip(*parts, strict=True)]


def _by_target(value: Any, tensor: Tensor, targets: int, name: str) -> list[Tensor]:
    if not isinstance(value, Tensor):
        raise InputTypeError(f"{name} must be a tensor, got {type(value).__name__}")
    if not torch.isfinite(value).all():
        raise InputError(f"{name} holds NaN or infinite values, which cannot be ranked")
    found = value.detach().to(tensor.device)
    several = found.dim() == tensor.dim() + 1 and found.shape[1] == targets
    parts = list(found.unbind(1)) if several else [found]
    if not _fits(parts[0].shape, tensor.shape):
        raise ShapeError(
            f"{name} has shape {tuple(found.shape)}, which does not fit the input's"
            f" {tuple(tensor.shape)} and {targets} target{'s' * (targets > 1)}; pass one value for"
            " each element or pixel, (N, ...), with several targets (N, targets, ...). A coarser"
            " map can be enlarged by torch.nn.functional.interpolate"
        )
    return parts


def _fits(shape: torch.Size, wanted: torch.Size) -> bool:
    if len(shape) != len(wanted) or shape[0] != wanted[0]:
        return False
    channels = len(wanted) > 2 and shape[1] == 1
    return shape[2:] == wanted[2:] and (channels or shape[1:2] == wanted[1:2])
