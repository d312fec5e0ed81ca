"""Axioms, under Quantus' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from torchattr import evaluate
from torchattr.quantus.features import elements
from torchattr.quantus.metric import Batch, Metric, baseline
from torchattr.quantus.signatures import options

TOLERANCE = 0.01
"""The share of the score's difference that a complete attribution may miss: paths have steps."""

ABSOLUTE = 1e-4
"""The largest difference of elements that count as equal, as in Quantus."""

_REPLACED = {
    "perturb_func": "features become perturb_baseline",
    "perturb_func_kwargs": "features become perturb_baseline",
}


class Completeness(Metric):
    """Whether maps sum up to the score's difference, up to 1 %, as True or False.

    :func:`torchattr.evaluate.completeness` has the residual itself. A normalised map, or one of
    magnitudes, sums up to something else: neither is done here, and `abs` and `normalise` are
    refused if they are given.

    Quantus 0.6 asks for equality of floats, of maps that it normalises by default: nearly no
    attribution passes.
    """

    defaults = options(
        {},
        abs=False,
        normalise=True,
        then={
            "output_func": None,
            "perturb_baseline": "black",
            "perturb_func": None,
            "perturb_func_kwargs": None,
        },
    )
    refused: ClassVar[Mapping[str, str]] = {
        **_REPLACED,
        "output_func": "explain a target that is a function of the output",
        "abs": "magnitudes do not add up to a score",
    }
    normalises = False

    def scores(self, batch: Batch) -> list[bool]:
        base = baseline(self.options["perturb_baseline"], batch.x)
        maps = batch.maps
        missing = evaluate.completeness(
            batch.scored, batch.x, maps, batch.y, baselines=base, relative=True
        )
        complete: list[bool] = (missing.abs() <= TOLERANCE).tolist()
        return complete


class NonSensitivity(Metric):
    """:func:`torchattr.evaluate.non_sensitivity` of the elements, with the threshold `eps`.

    `features_in_step` neighbours in the order of the elements are one feature; in Quantus 0.6 more
    than one fails. There thresholds are absolute, here shares of the largest attribution and of the
    score.
    """

    defaults = options(
        {"eps": 1e-5, "features_in_step": 1},
        abs=True,
        normalise=True,
        then={"perturb_baseline": "black", "perturb_func": None, "perturb_func_kwargs": None},
        aggregate_func=np.mean,
    )
    refused: ClassVar[Mapping[str, str]] = _REPLACED
    softmax = True

    def scores(self, batch: Batch) -> Tensor:
        return evaluate.non_sensitivity(
            batch.model,
            batch.x,
            batch.maps,
            batch.y,
            threshold=self.options["eps"],
            baselines=baseline(self.options["perturb_baseline"], batch.x),
            feature_mask=elements(batch.x, self.options["features_in_step"]),
            activation=batch.activation,
        )


class InputInvariance(Metric):
    """Whether a shift of the input that the model takes back leaves maps as they are.

    True or False, for differences up to 1e-4; :func:`torchattr.evaluate.input_invariance` has their
    size. The first layer absorbs the shift exactly, padded or not, with or without a bias.

    Quantus 0.6 shifts all elements but the first, changes the bias of the first module by one
    number for each channel, which is wrong at the border of a padded convolution, and fails without
    one.
    """

    defaults = options(
        {},
        abs=False,
        normalise=False,
        then={"input_shift": -1, "perturb_func": None, "perturb_func_kwargs": None},
    )
    refused: ClassVar[Mapping[str, str]] = {
        "perturb_func": "inputs are shifted by input_shift",
        "perturb_func_kwargs": "inputs are shifted by input_shift",
    }

    def scores(self, batch: Batch) -> list[bool]:
        found = evaluate.input_invariance(
            batch.explaining,
            batch.x,
            batch.y,
            shift=self.options["input_shift"],
            norm_ord=float("inf"),
            relative=False,
        )
        same: list[bool] = (found <= ABSOLUTE).tolist()
        return same
