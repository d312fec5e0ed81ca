"""Summaries of attributions that come batch after batch, of all and of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import as_tensors
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.statistics import Statistic, StatValue

Summary = dict[str, StatValue | None]


class SummarizerSingleTensor:
    """Statistics of a single tensor.

    Args:
        stats: the statistics to keep.
        summary_stats_indices: which of them the summary shows, by position.

    >>> from torchattr.evaluate import Max, Mean
    >>> summarizer = SummarizerSingleTensor([Mean(), Max()], [1])
    >>> summarizer.update(torch.tensor([1.0, 2.0]))
    >>> summarizer.summary
    {'max': tensor([1., 2.])}
    """

    def __init__(self, stats: list[Statistic], summary_stats_indices: list[int]) -> None:
        self._stats = stats
        self._shown = [stats[index] for index in summary_stats_indices]

    def update(self, x: Tensor) -> None:
        """Include a tensor."""
        for stat in self._stats:
            stat.update(x)

    def get(self, stat: Statistic) -> Statistic | None:
        """Return the own statistic of the same name; `None` if there is none."""
        return next((own for own in self._stats if own.name == stat.name), None)

    @property
    def summary(self) -> Summary:
        """The value of each statistic by name."""
        return {stat.name: stat.get() for stat in self._shown}


class Summarizer:
    """Statistics of tensors, or of tuples of tensors, over many updates.

    Args:
        stats: the statistics; they are copied.

    >>> from torchattr.evaluate import Mean
    >>> summarizer = Summarizer([Mean()])
    >>> for attributions in (torch.ones(2), torch.zeros(2)):
    ...     summarizer.update(attributions)
    >>> summarizer.summary
    {'mean': tensor([0.5000, 0.5000])}
    """

    def __init__(self, stats: Sequence[Statistic]) -> None:
        if not isinstance(stats, Sequence) or not all(isinstance(s, Statistic) for s in stats):
            raise InputTypeError(
                f"stats must be a list of statistics, such as [Mean(), Max()], got {stats!r}"
            )
        self._fresh = deepcopy(list(stats))
        self._is_tuple: bool | None = None
        self._parts: list[SummarizerSingleTensor] = []

    def update(self, x: Any) -> None:
        """Include a tensor or number, or a tuple of them, in the form of the first update.

        Raises:
            InputError: a tuple after single tensors, or the reverse, or of another length.
        """
        if isinstance(x, list):
            raise InputTypeError("x must be a tensor, a number or a tuple of them, got a list")
        is_tuple = isinstance(x, tuple)
        values = x if isinstance(x, tuple) else (x,)
        if self._is_tuple is None:
            self._is_tuple = is_tuple
            self._parts = [self._part() for _ in values]
        if is_tuple != self._is_tuple or len(values) != len(self._parts):
            raise InputError(
                f"update got {_form(is_tuple, len(values))}, but before it was"
                f" {_form(self._is_tuple, len(self._parts))}; use one Summarizer for each form"
            )
        for part, value in zip(self._parts, values, strict=True):
            part.update(_as_tensor(value))

    @property
    def summary(self) -> Summary | list[Summary] | None:
        """The statistics by name; a list for tuples, and `None` before the first update."""
        summaries = [part.summary for part in self._parts]
        if not summaries:
            return None
        return summaries if self._is_tuple else summaries[0]

    def _part(self) -> SummarizerSingleTensor:
        return SummarizerSingleTensor(deepcopy(self._fresh), list(range(len(self._fresh))))


class ClassSummarizer(Summarizer):
    """A :class:`Summarizer` of single examples, of all and of each class.

    >>> from torchattr.evaluate import Mean
    >>> summarizer = ClassSummarizer([Mean()])
    >>> summarizer.update(torch.tensor([[1.0], [3.0]]), ["cat", "dog"])
    >>> summarizer.summary, summarizer.class_summaries["dog"]
    ([{'mean': tensor([2.])}], [{'mean': tensor([3.])}])
    """

    def __init__(self, stats: Sequence[Statistic]) -> None:
        super().__init__(stats)
        self.summaries: dict[Any, Summarizer] = {}

    def update(self, x: Any, labels: Any = None) -> None:
        """Include a batch.

        Args:
            x: a tensor or a tuple of them, one row for each example.
            labels: a class for all examples, or a list or tensor with one for each; `None` includes
                `x` as it is in the summary of all only.

        Raises:
            ShapeError: not one label for each example.
        """
        if labels is None:
            super().update(x)
            return
        tensors = as_tensors(x, "x")
        for row, label in enumerate(_labels(labels, [len(tensor) for tensor in tensors])):
            example = tuple(tensor[row] for tensor in tensors)
            self.summaries.setdefault(label, Summarizer(self._fresh)).update(example)
            super().update(example)

    @property
    def class_summaries(self) -> Mapping[Any, Summary | list[Summary] | None]:
        """The summary of each class."""
        return {label: summarizer.summary for label, summarizer in self.summaries.items()}


def _labels(labels: Any, sizes: list[int]) -> list[Any]:
    """Return a label for each example; those of tensors are numbers, which are equal as keys."""
    given = labels.tolist() if isinstance(labels, Tensor) else labels
    series = given if isinstance(given, list) else [given]
    wanted = series * sizes[0] if len(series) == 1 else series
    if any(len(wanted) != size for size in sizes):
        raise ShapeError(
            f"labels has {len(series)} entries for x with {', '.join(map(str, sizes))} rows; pass"
            " one label for all examples, or one for each"
        )
    return wanted


def _as_tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float)


def _form(is_tuple: bool, length: int) -> str:
    return f"a tuple of {length}" if is_tuple else "a single value"
