"""Captum's names for statistics of attributions."""

from __future__ import annotations

from torchattr import evaluate
from torchattr.evaluate import MSE as MSE
from torchattr.evaluate import Count as Count
from torchattr.evaluate import Max as Max
from torchattr.evaluate import Mean as Mean
from torchattr.evaluate import Min as Min
from torchattr.evaluate import Statistic
from torchattr.evaluate import StatValue as StatValue
from torchattr.evaluate import StdDev as StdDev
from torchattr.evaluate import SummarizerSingleTensor as SummarizerSingleTensor
from torchattr.evaluate import Var as Var


class Summarizer(evaluate.Summarizer):
    """:class:`torchattr.evaluate.Summarizer` with Captum's errors."""


class ClassSummarizer(evaluate.ClassSummarizer, Summarizer):
    """:class:`torchattr.evaluate.ClassSummarizer` with Captum's errors."""


class Sum(evaluate.Total):
    """:class:`torchattr.evaluate.Total`, the sum of each element."""


def CommonStats() -> list[Statistic]:
    """Return :func:`torchattr.evaluate.common_stats`."""
    return evaluate.common_stats()
