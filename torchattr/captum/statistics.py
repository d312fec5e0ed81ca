"""Captum's names for statistics of attributions."""

from __future__ import annotations

from torchattr import evaluate
from torchattr.captum.errors import raises_like_captum
from torchattr.evaluate import MSE as MSE
from torchattr.evaluate import Count as Count
from torchattr.evaluate import Max as Max
from torchattr.evaluate import Mean as Mean
from torchattr.evaluate import Min as Min
from torchattr.evaluate import Statistic
from torchattr.evaluate import StatValue as StatValue
from torchattr.evaluate import StdDev as StdDev
from torchattr.evaluate import Sum as Sum
from torchattr.evaluate import SummarizerSingleTensor as SummarizerSingleTensor
from torchattr.evaluate import Var as Var


class Summarizer(evaluate.Summarizer):
    """:class:`torchattr.evaluate.Summarizer` with Captum's errors."""

    update = raises_like_captum(evaluate.Summarizer.update)


class ClassSummarizer(Summarizer, evaluate.ClassSummarizer):
    """:class:`torchattr.evaluate.ClassSummarizer` with Captum's errors."""

    update = raises_like_captum(evaluate.ClassSummarizer.update)


def CommonStats() -> list[Statistic]:
    """Return :func:`torchattr.evaluate.common_stats`."""
    return evaluate.common_stats()
