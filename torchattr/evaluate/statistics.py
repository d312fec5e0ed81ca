"""Statistics over tensors that come one after another, each in the memory of one tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

StatValue = Tensor | int | float


class Statistic(ABC):
    """A statistic of each element over all tensors so far.

    Args:
        name: its key in a summary; the name of the class by default.
    """

    default_name: ClassVar[str | None] = None

    def __init__(self, name: str | None = None) -> None:
        self.name = name or self.default_name or type(self).__name__.lower()

    @abstractmethod
    def update(self, x: Tensor) -> None:
        """Include a tensor, shaped like all others."""

    @abstractmethod
    def get(self) -> StatValue | None:
        """Return the value so far; `None` before the first tensor."""


class Count(Statistic):
    """Number of tensors.

    >>> count = Count()
    >>> count.update(torch.zeros(2))
    >>> count.get()
    1
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._count: int | None = None

    def update(self, x: Tensor) -> None:
        self._count = (self._count or 0) + 1

    def get(self) -> int | None:
        return self._count


class _Deviations(Statistic):
    """The mean and the sum of squared deviations, without cancellation (Welford 1962)."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def update(self, x: Tensor) -> None:
        x = x.detach() if x.is_floating_point() else x.detach().double()
        self._count += 1
        if self._mean is None or self._squares is None:
            self._mean, self._squares = x.clone(), torch.zeros_like(x)
            return
        shift = x - self._mean
        self._mean = self._mean + shift / self._count
        self._squares = self._squares + shift * (x - self._mean)


class Mean(_Deviations):
    """The mean of each element; integers are averaged in float64.

    >>> mean = Mean()
    >>> for x in (torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])):
    ...     mean.update(x)
    >>> mean.get()
    tensor([2., 2.])
    """

    def get(self) -> Tensor | None:
        return self._mean


class MSE(_Deviations):
    """The sum of squared deviations from the mean, `Σ (x − x̄)²`; not divided by the number.

    >>> squares = MSE()
    >>> for x in (torch.tensor(1.0), torch.tensor(3.0)):
    ...     squares.update(x)
    >>> squares.get()
    tensor(2.)
    """

    def get(self) -> Tensor | None:
        return self._squares


class Var(_Deviations):
    """The variance in float64, `Σ (x − x̄)² / (n − order)`; 0 while there are no more than `order`.

    Args:
        name: its key in a summary.
        order: degrees of freedom to subtract: 0 of a population, 1 of a sample.

    >>> variance = Var(order=1)
    >>> for x in (torch.tensor(1.0), torch.tensor(3.0)):
    ...     variance.update(x)
    >>> variance.name, variance.get()
    ('sample_variance', tensor(2., dtype=torch.float64))
    """

    def __init__(self, name: str | None = None, order: int = 0) -> None:
        super().__init__(name or _of_order("variance", order))
        self.order = order

    def get(self) -> Tensor | None:
        if self._squares is None:
            return None
        if self._count <= self.order:
            return torch.zeros_like(self._squares)
        return self._squares.double() / (self._count - self.order)


class StdDev(Var):
    """The standard deviation, the square root of :class:`Var`, in float64.

    >>> deviation = StdDev()
    >>> for x in (torch.tensor(1.0), torch.tensor(3.0)):
    ...     deviation.update(x)
    >>> deviation.name, deviation.get()
    ('std_dev', tensor(1., dtype=torch.float64))
    """

    def __init__(self, name: str | None = None, order: int = 0) -> None:
        super().__init__(name or _of_order("std_dev", order), order)

    def get(self) -> Tensor | None:
        variance = super().get()
        return None if variance is None else variance.sqrt()


class _Accumulated(Statistic):
    """A function of the value so far and the next tensor."""

    def __init__(self, name: str | None, fn: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(name)
        self.fn = fn
        self._value: Tensor | None = None

    def update(self, x: Tensor) -> None:
        x = x.detach()
        self._value = x.clone() if self._value is None else self.fn(self._value, x)

    def get(self) -> Tensor | None:
        return self._value


class Min(_Accumulated):
    """The smallest value of each element.

    >>> least = Min()
    >>> for x in (torch.tensor([1, 5]), torch.tensor([3, 2])):
    ...     least.update(x)
    >>> least.get()
    tensor([1, 2])
    """

    def __init__(
        self, name: str | None = None, min_fn: Callable[[Tensor, Tensor], Tensor] = torch.min
    ) -> None:
        super().__init__(name, min_fn)


class Max(_Accumulated):
    """The largest value of each element.

    >>> most = Max()
    >>> for x in (torch.tensor([1, 5]), torch.tensor([3, 2])):
    ...     most.update(x)
    >>> most.get()
    tensor([3, 5])
    """

    def __init__(
        self, name: str | None = None, max_fn: Callable[[Tensor, Tensor], Tensor] = torch.max
    ) -> None:
        super().__init__(name, max_fn)


class Total(_Accumulated):
    """The sum of each element, named `sum`.

    >>> total = Total()
    >>> for x in (torch.tensor([1, 5]), torch.tensor([3, 2])):
    ...     total.update(x)
    >>> total.get()
    tensor([4, 7])
    """

    default_name: ClassVar[str | None] = "sum"

    def __init__(
        self, name: str | None = None, add_fn: Callable[[Tensor, Tensor], Tensor] = torch.add
    ) -> None:
        super().__init__(name, add_fn)


def _of_order(name: str, order: int) -> str:
    return {0: name, 1: f"sample_{name}"}.get(order, f"{name}({order})")


def common_stats() -> list[Statistic]:
    """Return mean, sample variance, sample standard deviation, least and largest value.

    >>> [stat.name for stat in common_stats()]
    ['mean', 'sample_variance', 'sample_std_dev', 'min', 'max']
    """
    return [Mean(), Var(order=1), StdDev(order=1), Min(), Max()]
