"""Complexity, under Quantus' names."""

from __future__ import annotations

from torch import Tensor

from torchattr import evaluate
from torchattr.quantus.metric import Batch, Metric
from torchattr.quantus.signatures import options


class Sparseness(Metric):
    """:func:`torchattr.evaluate.gini_index`.

    Quantus 0.6 adds 1e-7 to each element first, of the caller's own array.
    """

    defaults = options({}, abs=True, normalise=True)

    def scores(self, batch: Batch) -> Tensor:
        return evaluate.gini_index(_pictures(batch.maps))


class Complexity(Metric):
    """:func:`torchattr.evaluate.entropy`.

    Quantus 0.6 divides the caller's own array by its sum, and adds 1e-12 in the logarithm.
    """

    defaults = options({}, abs=True, normalise=True)

    def scores(self, batch: Batch) -> Tensor:
        return evaluate.entropy(_pictures(batch.maps))


class EffectiveComplexity(Metric):
    """:func:`torchattr.evaluate.effective_complexity` with the threshold `eps`.

    Quantus 0.6 normalises by the largest element of the batch, so that the count of one example
    depends on the others; here each map is normalised by its own.
    """

    defaults = options({"eps": 1e-5}, abs=True, normalise=True)

    def scores(self, batch: Batch) -> Tensor:
        return evaluate.effective_complexity(_pictures(batch.maps), self.options["eps"])


def _pictures(maps: Tensor) -> Tensor:
    """Return maps of any form as `(N, 1, elements)`, each element on its own."""
    return maps.reshape(len(maps), 1, -1)
