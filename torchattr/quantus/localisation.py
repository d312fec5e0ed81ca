"""Localisation, under Quantus' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr import evaluate
from torchattr.errors import InputError, InputTypeError
from torchattr.quantus.metric import Batch, Metric
from torchattr.quantus.signatures import options


class PointingGame(Metric):
    """Whether the maximum of a map is in its mask, as by :func:`torchattr.evaluate.points_at`.

    1 or 0; with `weighted` 1 becomes the share of the picture outside of the mask. Of several
    maxima all must lie in the mask, and a constant map has none: NaN.

    Quantus 0.6 counts an empty mask as a hit, which is refused here, takes one of several maxima
    for enough, and fails with `weighted`.
    """

    defaults = options({"weighted": False}, abs=False, normalise=True)

    def scores(self, batch: Batch) -> Tensor:
        masks = _masks(batch)
        inside = evaluate.top_k_intersection(batch.maps, masks, k=1)
        # A quotient of equal counts is 1 exactly.
        hits = torch.where(inside.isnan(), inside, (inside == 1).double())
        outside = 1 - masks.reshape(len(masks), -1).double().mean(1)
        return hits * outside if self.options["weighted"] else hits


class TopKIntersection(Metric):
    """:func:`torchattr.evaluate.top_k_intersection`.

    With `concept_influence`, divided by the mask's share of the picture. Elements of one value at
    the border of the top have equal shares in it; in Quantus 0.6 their positions decide.
    """

    defaults = options({"k": 1000, "concept_influence": False}, abs=False, normalise=True)

    def scores(self, batch: Batch) -> Tensor:
        masks = _masks(batch)
        found = evaluate.top_k_intersection(batch.maps, masks, self.options["k"])
        area = masks.reshape(len(masks), -1).double().mean(1)
        return found / area if self.options["concept_influence"] else found


class RelevanceMassAccuracy(Metric):
    """:func:`torchattr.evaluate.relevance_mass` of the positive part, or of magnitudes with `abs`.

    Quantus 0.6 divides signed sums, which is no share: it can exceed 1 or be negative.
    """

    defaults = options({}, abs=False, normalise=True)

    def scores(self, batch: Batch) -> Tensor:
        return evaluate.relevance_mass(batch.maps, _masks(batch), sign="positive")


class RelevanceRankAccuracy(Metric):
    """:func:`torchattr.evaluate.relevance_rank`; ties as for :class:`TopKIntersection`."""

    defaults = options({}, abs=False, normalise=True)

    def scores(self, batch: Batch) -> Tensor:
        return evaluate.relevance_rank(batch.maps, _masks(batch))


class AttributionLocalisation(Metric):
    """:func:`torchattr.evaluate.attribution_localisation`, of magnitudes unless `abs=False`.

    Weighted it is divided by the mask's share of the picture, as in the paper. Quantus 0.6
    multiplies by a ratio whose denominator depends on the number of examples.
    """

    defaults = options(
        {"weighted": False, "max_size": 1.0, "positive_attributions": False},
        abs=True,
        normalise=True,
    )
    refused: ClassVar[Mapping[str, str]] = {"max_size": "leave examples with larger masks out"}

    def scores(self, batch: Batch) -> Tensor:
        weighted = self.options["weighted"]
        return evaluate.attribution_localisation(batch.maps, _masks(batch), weighted=weighted)


class AUC(Metric):
    """:func:`torchattr.evaluate.localisation_auc`."""

    defaults = options({}, abs=False, normalise=True)

    def scores(self, batch: Batch) -> Tensor:
        return evaluate.localisation_auc(batch.maps, _masks(batch))


class Focus(Metric):
    """The positive share of a mosaic's cells that show the class, of their total.

    The sum of :func:`torchattr.evaluate.cell_shares` over the cells that `custom_batch` marks, four
    numbers of each example: top left, top right, bottom left and bottom right.
    """

    defaults = options({"mosaic_shape": None}, abs=False, normalise=True)

    def scores(self, batch: Batch) -> Tensor:
        marks = torch.as_tensor(_custom(batch)).to(batch.x.device)
        if marks.shape != (len(batch.x), 4):
            raise InputError(
                f"custom_batch must mark 4 cells for each of {len(batch.x)} mosaics, got the shape"
                f" {tuple(marks.shape)}"
            )
        shares = evaluate.cell_shares(batch.maps, (2, 2))
        return (shares.flatten(1) * marks.double()).sum(1)


def _masks(batch: Batch) -> Any:
    if batch.masks is None:
        raise InputTypeError("s_batch is missing: pass the mask of each example")
    return batch.masks


def _custom(batch: Batch) -> Any:
    if batch.custom is None:
        raise InputTypeError(
            "custom_batch is missing: pass for each mosaic which of its four cells show the class"
        )
    return batch.custom
