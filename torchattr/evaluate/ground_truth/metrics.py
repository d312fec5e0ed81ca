"""The metrics of the benchmark, each for the maps of many methods at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor

from torchattr.core.squares import squares
from torchattr.core.targets import bundle
from torchattr.errors import InputError
from torchattr.evaluate.both_orders import both_orders
from torchattr.evaluate.complexity import entropy, gini_index
from torchattr.evaluate.curves import Curve, deletion_curve, insertion_curve
from torchattr.evaluate.faithfulness import faithfulness_correlation, single_deletion
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.evaluate.localisation import (
    attribution_localisation,
    cell_shares,
    localisation_auc,
    relevance_mass,
    relevance_rank,
    top_k_intersection,
)
from torchattr.evaluate.pointing import pointed
from torchattr.evaluate.remove_and_debias import road

Group = Literal["localisation", "faithfulness", "complexity"]
On = Literal["scenes", "grids", "full", "part"]
Measure: TypeAlias = Callable[[LabelledPictures, Tensor], Tensor]
"""From pictures and maps `(M, N, h, w)` of M methods to one value for each map, `(M, N)`."""

BLOCKS = 16
"""Features of the metrics that replace some: squares in a row and in a column."""

TOP = 0.05
STEPS = 10
SETS = 64
ROAD_FRACTIONS = (0.3, 0.6)

_SQUARES = f"a grid of {BLOCKS} x {BLOCKS} squares"
_CURVE = f"{STEPS} steps over {_SQUARES}"
_REMOVED = " and ".join(f"{fraction:.0%}" for fraction in ROAD_FRACTIONS)


@dataclass(frozen=True)
class MapMetric:
    """One column of the benchmark.

    Attributes:
        name: as in tables.
        group: what it is about.
        is_better: which of two values is the better one.
        measure: what computes it.
        on: the pictures that it is measured on.
        setting: what its values depend on beside the maps, for readers of a table.
    """

    name: str
    group: Group
    measure: Measure
    is_better: Literal["higher", "lower"] = "higher"
    on: On = "scenes"
    setting: str = ""

    @property
    def sign(self) -> int:
        """What its values are multiplied by so that higher is better."""
        return 1 if self.is_better == "higher" else -1

    @property
    def title(self) -> str:
        """Its name with an arrow to where it is better."""
        return f"{self.name} {'↑' if self.is_better == 'higher' else '↓'}"


def by_masks(metric: Callable[..., Tensor], **options: Any) -> Measure:
    """Return a metric of maps and masks as one of many methods."""

    def measure(pictures: LabelledPictures, maps: Tensor) -> Tensor:
        masks = pictures.masks.repeat(len(maps), 1, 1)
        return metric(maps.flatten(0, 1), masks, **options).unflatten(0, maps.shape[:2])

    return measure


def by_maps(metric: Callable[..., Tensor]) -> Measure:
    """Return a metric of maps alone as one of many methods."""
    return lambda _, maps: metric(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])


def by_curve(make: Callable[..., Curve], **options: Any) -> Measure:
    """Return the area below a curve as a metric of many methods."""

    def measure(pictures: LabelledPictures, maps: Tensor) -> Tensor:
        return make(**_blockwise(pictures, maps), steps=STEPS, **options).auc.T

    return measure


def by_forwards(metric: Callable[..., Tensor], **options: Any) -> Measure:
    """Return a metric whose forwards do not depend on the maps, so that all methods share them."""

    def measure(pictures: LabelledPictures, maps: Tensor) -> Tensor:
        # Of raw scores: probabilities hardly change where the network is sure.
        return metric(**{**_blockwise(pictures, maps), "activation": "none"}, **options).T

    return measure


def imputed_difference(pictures: LabelledPictures, maps: Tensor) -> Tensor:
    """Return half the difference of the areas of ROAD that removes the least and the most first."""
    both = both_orders(road, **_asked(pictures, maps), fractions=ROAD_FRACTIONS)
    return both.area_between.T / 2


def in_top(pictures: LabelledPictures, maps: Tensor) -> Tensor:
    """Return the share of the largest 5% of each map that is on the object."""
    k = max(1, round(TOP * maps[0, 0].numel()))
    return by_masks(top_k_intersection, k=k)(pictures, maps)


def hits(pictures: LabelledPictures, maps: Tensor) -> Tensor:
    """Return 1 where a map's maximum is in the object's box, else 0; NaN for constant maps."""
    boxes = [*pictures.boxes] * len(maps)
    each = list(maps.flatten(0, 1).cpu())
    return pointed(each, boxes, "pointing_game").unflatten(0, maps.shape[:2])


def in_cell(pictures: LabelledPictures, maps: Tensor) -> Tensor:
    """Return the share of a map's positive part that is in the cell of its object."""
    shares = cell_shares(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
    own = pictures.masks.unflatten(2, (2, -1)).unflatten(1, (2, -1)).any(2).any(3)
    return (shares * own).sum((2, 3))


def _asked(pictures: LabelledPictures, maps: Tensor) -> dict[str, Any]:
    """Return what metrics of faithfulness take: each method's maps are those of one more target."""
    return {
        "model": pictures.model,
        "inputs": pictures.inputs,
        "attributions": maps.to(pictures.inputs).transpose(0, 1)[:, :, None],
        "target": bundle([pictures.targets.tolist()] * len(maps)),
        "activation": pictures.activation,
    }


def _blockwise(pictures: LabelledPictures, maps: Tensor) -> dict[str, Any]:
    return {**_asked(pictures, maps), "feature_mask": squares(pictures.inputs, BLOCKS)}


METRICS: Mapping[str, MapMetric] = {
    one.name: one
    for one in (
        MapMetric("mass", "localisation", by_masks(relevance_mass)),
        MapMetric("positive", "localisation", by_masks(attribution_localisation)),
        MapMetric("relevance rank", "localisation", by_masks(relevance_rank)),
        MapMetric("top 5%", "localisation", in_top),
        MapMetric("auc", "localisation", by_masks(localisation_auc)),
        MapMetric("pointing", "localisation", hits),
        MapMetric("grid", "localisation", in_cell, on="grids"),
        MapMetric("difull", "localisation", in_cell, on="full"),
        MapMetric("dipart", "localisation", in_cell, on="part"),
        MapMetric("deletion", "faithfulness", by_curve(deletion_curve), "lower", setting=_CURVE),
        MapMetric("insertion", "faithfulness", by_curve(insertion_curve), setting=_CURVE),
        MapMetric(
            "road", "faithfulness", imputed_difference, setting=f"{_REMOVED} of the pixels imputed"
        ),
        MapMetric(
            "sets",
            "faithfulness",
            by_forwards(faithfulness_correlation, n_samples=SETS),
            setting=f"{SETS} sets from {_SQUARES}",
        ),
        MapMetric("single", "faithfulness", by_forwards(single_deletion), setting=_SQUARES),
        MapMetric("gini", "complexity", by_maps(gini_index)),
        MapMetric("entropy", "complexity", by_maps(entropy), "lower"),
    )
}
"""By name. What each one is, is said by the function of `torchattr.evaluate` that it calls."""


def asked_metrics(metrics: str | Sequence[str] | None) -> list[MapMetric]:
    """Return the metrics of some names; all of them for `None`.

    Raises:
        InputError: there are none, one is unknown, or named twice.
    """
    names = list(METRICS) if metrics is None else [metrics] if isinstance(metrics, str) else metrics
    if not names:
        raise InputError(f"metrics is empty; name some of {', '.join(METRICS)}")
    for name in names:
        if name not in METRICS:
            raise InputError(f"metrics must be some of {', '.join(METRICS)}, got {name!r}")
        if list(names).count(name) > 1:
            raise InputError(f"metrics has {name} twice; name it once")
    return [METRICS[name] for name in names]
