"""Robustness, under Quantus' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from torchattr import evaluate
from torchattr.errors import InputError
from torchattr.quantus.metric import Batch, Metric, baseline
from torchattr.quantus.signatures import options

_NORMS = {
    "similarity_func": "the change is the difference; see torchattr.evaluate.sensitivity_max",
    "norm_numerator": "the norm is Euclidean; torchattr.evaluate.robustness takes norm_ord",
    "norm_denominator": "the norm is Euclidean; torchattr.evaluate.robustness takes norm_ord",
}
_COMPARED = {"similarity_func": None, "norm_numerator": None, "norm_denominator": None}
_CHANGED = {"return_nan_when_prediction_changes": False}


class _Robustness(Metric):
    """A measure of :func:`torchattr.evaluate.robustness`."""

    def measured(self, name: str, batch: Batch, noise: Mapping[str, Any], **more: Any) -> Tensor:
        """Return a measure of the batch.

        Args:
            name: of the measure.
            batch: the batch.
            noise: arguments that describe the perturbation.
            **more: further arguments.
        """
        found = evaluate.robustness(
            batch.explaining,
            batch.x,
            measures=(name,),
            n_samples=self.options["nr_samples"],
            keep_prediction=self.options["return_nan_when_prediction_changes"],
            target=batch.y,
            **{"model": batch.model, **noise, **more},
        )
        scores: Tensor = found[name]
        return scores

    def within(self, radius: float, **defaults: Any) -> dict[str, Any]:
        """Return the arguments of uniform noise, or of the options' own perturbation."""
        function = self.perturbing(**defaults)
        return {"radius": radius} if function is None else {"perturb_func": function}


class MaxSensitivity(_Robustness):
    """:func:`torchattr.evaluate.sensitivity_max` with `lower_bound` as the radius.

    Quantus 0.6 draws the noise of NumPy's global generator; here it is seeded for each example.
    """

    defaults = options(
        {**_COMPARED, "nr_samples": 200},
        abs=False,
        normalise=False,
        then={
            "perturb_func": None,
            "lower_bound": 0.2,
            "upper_bound": None,
            "perturb_func_kwargs": None,
        },
        last=_CHANGED,
    )
    refused: ClassVar[Mapping[str, str]] = {
        **_NORMS,
        "upper_bound": "noise is symmetric, as in the paper: lower_bound wide",
    }

    def scores(self, batch: Batch) -> Tensor:
        radius = self.options["lower_bound"]
        return self.measured("sensitivity_max", batch, self.within(radius, lower_bound=radius))


class AvgSensitivity(_Robustness):
    """:func:`torchattr.evaluate.sensitivity_average`; see :class:`MaxSensitivity`."""

    defaults = MaxSensitivity.defaults
    refused: ClassVar[Mapping[str, str]] = MaxSensitivity.refused

    def scores(self, batch: Batch) -> Tensor:
        radius = self.options["lower_bound"]
        return self.measured("sensitivity_average", batch, self.within(radius, lower_bound=radius))


class LocalLipschitzEstimate(_Robustness):
    """:func:`torchattr.evaluate.local_lipschitz` with normal noise of `perturb_std`.

    Quantus 0.6 normalises maps by the largest element of the batch, so that the estimate of one
    example depends on the others; here each map is normalised by its own.
    """

    defaults = options(
        {**_COMPARED, "nr_samples": 200},
        abs=False,
        normalise=True,
        then={
            "perturb_func": None,
            "perturb_mean": 0.0,
            "perturb_std": 0.1,
            "perturb_func_kwargs": None,
        },
        last=_CHANGED,
    )
    refused: ClassVar[Mapping[str, str]] = {
        **_NORMS,
        "perturb_mean": "pass a perturb_func that shifts the input, too",
    }
    softmax = True

    def scores(self, batch: Batch) -> Tensor:
        std = self.options["perturb_std"]
        noise = {"noise": "normal", **self.within(std, perturb_mean=0.0, perturb_std=std)}
        return self.measured("local_lipschitz", batch, noise)


class Continuity(Metric):
    """:func:`torchattr.evaluate.continuity` under moves in `nr_steps` columns.

    Quantus 0.6 moves by steps of equal integers, which end before the right side is reached.
    """

    defaults = options(
        {"nr_steps": 28},
        abs=True,
        normalise=True,
        then={"perturb_func": None, "perturb_baseline": "black", "perturb_func_kwargs": None},
        aggregate_func=np.mean,
        last=_CHANGED,
    )
    refused: ClassVar[Mapping[str, str]] = {
        "perturb_func": "the picture is moved sideways; see torchattr.evaluate.robustness",
        "perturb_func_kwargs": "the picture is moved sideways",
        "return_nan_when_prediction_changes": "all moves count, as in the paper",
    }

    def scores(self, batch: Batch) -> Tensor:
        fill = baseline(self.options["perturb_baseline"], batch.x)
        steps = self.options["nr_steps"]
        found: Tensor = evaluate.continuity(
            batch.explaining, batch.x, steps=steps, fill=fill, target=batch.y
        )
        return found


class Consistency(Metric):
    """:func:`torchattr.evaluate.consistency` of the maps and the predicted classes.

    By default maps count as equal if their five largest elements are the same, with their signs.
    Quantus 0.6 compares the signs of the *first* five elements, the top left of the picture, which
    are all positive for magnitudes: all maps count as equal. It gives 0 to maps that no other
    example shares; here they are NaN.
    """

    defaults = options({"discretise_func": None}, abs=True, normalise=True)
    softmax = True
    whole = True

    def scores(self, batch: Batch) -> Tensor:
        rows = batch.maps.flatten(1)
        discretise = self.options["discretise_func"]
        predictions = batch.predictions
        if discretise is None:
            return evaluate.consistency(rows, predictions, k=min(5, rows.shape[1]))
        keys = [discretise(row) for row in rows.cpu().numpy()]
        numbers = torch.tensor([keys.index(key) for key in keys], device=rows.device)
        return evaluate.consistency(rows, predictions, discretise=lambda _: numbers)


_STABLE = options(
    {"nr_samples": 200},
    abs=False,
    normalise=False,
    then={"perturb_func": None, "perturb_func_kwargs": None},
    last={"eps_min": 1e-6, "return_nan_when_prediction_changes": True},
)


class RelativeInputStability(_Robustness):
    """:func:`torchattr.evaluate.relative_input_stability` with noise within ±0.2.

    Samples of another predicted class do not count, as in the paper; in Quantus 0.6 a single one
    makes the score NaN. Its noise is within 0.02 and 0.2 and so only brightens, and the least
    denominator applies to an exact 0 alone.
    """

    defaults = _STABLE

    def scores(self, batch: Batch) -> Tensor:
        return self.measured("relative_input_stability", batch, **_stable(self))


class RelativeOutputStability(_Robustness):
    """:func:`torchattr.evaluate.relative_output_stability`; see :class:`RelativeInputStability`."""

    defaults = _STABLE

    def scores(self, batch: Batch) -> Tensor:
        options = {**_stable(self), "model": batch.scored}
        return self.measured("relative_output_stability", batch, **options)


class RelativeRepresentationStability(_Robustness):
    """:func:`torchattr.evaluate.relative_representation_stability` of the named layers.

    By default of all layers without children, together; see :class:`RelativeInputStability`.
    """

    defaults = options(
        {"nr_samples": 200},
        abs=False,
        normalise=False,
        then={"perturb_func": None, "perturb_func_kwargs": None},
        last={
            "eps_min": 1e-6,
            "layer_names": None,
            "layer_indices": None,
            "return_nan_when_prediction_changes": True,
        },
    )

    def scores(self, batch: Batch) -> Tensor:
        layer = self._layers(batch.model)
        return self.measured(
            "relative_representation_stability", batch, layer=layer, **_stable(self)
        )

    def _layers(self, model: Any) -> Any:
        """Return the selection of layers; numbers count all modules of the model, as in Quantus."""
        names, numbers = self.options["layer_names"], self.options["layer_indices"]
        if names is not None and numbers is not None:
            raise InputError("layer_names and layer_indices select layers both; pass one of them")
        if numbers is not None:
            modules = [module for _, module in model.named_modules()]
            return [modules[number] for number in numbers]
        return slice(None) if names is None else list(names)


def _stable(metric: _Robustness) -> dict[str, Any]:
    radius = (metric.options["perturb_func_kwargs"] or {}).get("upper_bound", 0.2)
    return {"noise": metric.within(radius), "eps_min": metric.options["eps_min"]}
