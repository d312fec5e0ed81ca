"""Confidence intervals of means by resampling what was measured on each example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.core.checked_numbers import as_number, checked_count
from torchattr.core.warn import warn
from torchattr.errors import FewSamplesWarning, InputError, ShapeError
from torchattr.evaluate.measured_maps import as_tensor
from torchattr.methods import checked_seed

_TINY = 0.005

ENOUGH = 10
"""The number of samples from which the interval of a mean covers about what it promises."""


@dataclass(frozen=True, eq=False)
class Interval:
    """Means and the bounds between which they lie, in double precision on the CPU.

    Attributes:
        value: the mean of the samples, `(...)`; NaN where there is none.
        low: the lower bound; NaN where there are fewer than two samples.
        high: the upper bound.
        samples: the number of samples of each mean.
        level: the share of such intervals that hold the true mean.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    samples: Tensor
    level: float

    def __getitem__(self, index: Any) -> Interval:
        """Return some of the intervals."""
        return Interval(
            self.value[index], self.low[index], self.high[index], self.samples[index], self.level
        )

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Interval]:
        return (self[index] for index in range(len(self)))

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers or lists by the names of the attributes; `None` for NaN."""
        tensors = {"value": self.value, "low": self.low, "high": self.high, "samples": self.samples}
        return {
            **{name: _plain(one.tolist()) for name, one in tensors.items()},
            "level": self.level,
        }

    @property
    def written(self) -> tuple[str, str, str]:
        """The value and the bounds of a single interval, with two digits."""
        numbers = (float(self.value), float(self.low), float(self.high))
        largest = max((abs(number) for number in numbers if number == number), default=0.0)
        # Differences of small probabilities would all be written as 0.
        if 0 < largest < _TINY:
            value, low, high = (f"{number:.1e}" for number in numbers)
        else:
            value, low, high = map(two_digits, numbers)
        return value, low, high

    def __str__(self) -> str:
        if self.value.dim():
            return "; ".join(map(str, self))
        if bool(self.value.isnan()):
            return "undefined"
        value, low, high = self.written
        return value if bool(self.low.isnan()) else f"{value} [{low}, {high}]"

    def __repr__(self) -> str:
        return f"Interval({self})"


def bootstrap_interval(
    values: Any, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the mean over the examples, and the interval in which the true mean lies.

    The percentile bootstrap: the examples are drawn anew with replacement, and the bounds are
    quantiles of the means that this gives, `(1 ± level) / 2`. Efron 1979, Annals of Statistics 7.
    All columns share their draws, so that intervals of several methods belong to the same pictures;
    to compare two methods, pass the differences of their values.

    It is *not* wider for examples that depend on each other, such as copies of a picture, and is
    too narrow for few: with ten, about nine of ten intervals hold the true mean at `level=0.95`.

    Args:
        values: what was measured on each example, `(N, ...)`; NaN is left out.
        level: the share of such intervals that hold the true mean.
        resamples: number of draws.
        seed: seed of the draws.

    Raises:
        InputError: there are no examples, infinite values, or an argument out of range.
        InputTypeError: neither a tensor nor an array of numbers.
        ShapeError: a single number.

    Warns `FewSamplesWarning` below ten samples. A single one has no interval: its bounds are NaN.

    >>> import torch
    >>> bootstrap_interval(torch.linspace(0, 1, 50))
    Interval(0.50 [0.41, 0.58])
    """
    level = as_number(level, "level")
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, such as 0.95, got {level}")
    found = _checked(values)
    means = resampled_means(found, resamples=resamples, seed=seed)
    counts = (~found.isnan()).sum(0)
    _warn_of_few(counts, len(found))
    low, high = quantiles(means, (1 - level) / 2), quantiles(means, (1 + level) / 2)
    alone = counts < 2
    return Interval(
        found.nanmean(0),
        low.masked_fill(alone, torch.nan),
        high.masked_fill(alone, torch.nan),
        counts,
        level,
    )


def resampled_means(values: Any, *, resamples: int = 2000, seed: int = 0) -> Tensor:
    """Return the means of examples drawn anew: `(resamples, ...)`, NaN where none is defined.

    Arguments and errors are those of :func:`bootstrap_interval`. Statistics of means, such as the
    rank of a method among others, take theirs from each row:

    >>> import torch
    >>> scores = torch.tensor([[0.1, 0.9], [0.2, 0.7], [0.3, 0.8]])  # three pictures, two methods
    >>> resampled_means(scores, resamples=100).argmax(1).double().mean()
    tensor(1., dtype=torch.float64)
    """
    found = _checked(values)
    drawn = _times_drawn(len(found), resamples, seed)
    flat = found.reshape(len(found), found.shape[1:].numel())
    known = (~flat.isnan()).double()
    means = drawn @ flat.nan_to_num(0.0) / (drawn @ known)
    return means.reshape(resamples, *found.shape[1:])


def two_digits(value: float) -> str:
    """Return a number with two digits after the point, and no minus before a zero.

    >>> two_digits(-0.001), two_digits(0.256)
    ('0.00', '0.26')
    """
    return f"{round(value, 2) + 0.0:.2f}"


def quantiles(means: Tensor, share: float) -> Tensor:
    """Return a quantile of each column of resampled means; NaN is left out."""
    flat = means.reshape(len(means), means.shape[1:].numel())
    return torch.nanquantile(flat, share, dim=0).reshape(means.shape[1:])


def _plain(values: Any) -> Any:
    """Return numbers with `None` for NaN, which JSON does not have."""
    if isinstance(values, list):
        return [_plain(one) for one in values]
    return None if values != values else values


def _times_drawn(samples: int, resamples: int, seed: int) -> Tensor:
    """Return how often each draw takes each sample, `(resamples, samples)`."""
    checked_count(resamples, "resamples")
    generator = torch.Generator().manual_seed(checked_seed(seed))
    rows = torch.randint(samples, (resamples, samples), generator=generator)
    counts = torch.zeros(resamples, samples, dtype=torch.float64)
    return counts.scatter_add_(1, rows, torch.ones_like(counts))


def _checked(values: Any) -> Tensor:
    found = values if isinstance(values, Tensor) else _from_array(values)
    if found.dim() == 0:
        raise ShapeError("values must have a row for each example, got a single number")
    if len(found) == 0:
        raise InputError("values has no examples, so there is nothing to average")
    numbers = found.detach().double().cpu()
    if numbers.isinf().any():
        raise InputError("values holds infinite numbers, of which there is no mean")
    return numbers


def _from_array(values: Any) -> Tensor:
    return as_tensor(values, "values").double()


def _warn_of_few(counts: Tensor, samples: int) -> None:
    fewest = int(counts.min()) if counts.numel() else samples
    if fewest == 1:
        warn(
            "an interval needs at least two samples, but a mean has one; its bounds are NaN: pass"
            " more pictures",
            FewSamplesWarning,
        )
    elif 1 < fewest < ENOUGH:
        warn(
            f"an interval of {fewest} samples is too narrow; {ENOUGH} and more cover about what"
            " they promise",
            FewSamplesWarning,
        )
