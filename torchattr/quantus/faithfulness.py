"""Faithfulness, under Quantus' names."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr import evaluate
from torchattr.core.arguments import check_choice
from torchattr.core.targets import Classes
from torchattr.quantus.features import elements, ranked
from torchattr.quantus.metric import Batch, Metric, baseline
from torchattr.quantus.signatures import REPLACING, options

_REPLACED = {
    "perturb_func": "features become perturb_baseline; torchattr.evaluate takes tensors, too",
    "perturb_func_kwargs": "features become perturb_baseline",
}
_CORRELATED = {
    **_REPLACED,
    "similarity_func": "it is the correlation of the paper; see torchattr.evaluate",
}
_COMPARED = {"similarity_func": None}


class _Replacing(Metric):
    """A metric that replaces features of a batch."""

    refused: ClassVar[Mapping[str, str]] = _REPLACED
    softmax = True

    def replacing(self, batch: Batch) -> dict[str, Any]:
        """Return what features become, and how scores are read."""
        base = baseline(self.options["perturb_baseline"], batch.x)
        progress = self.options["display_progressbar"]
        return {"baselines": base, "activation": batch.activation, "show_progress": progress}


class FaithfulnessCorrelation(_Replacing):
    """:func:`torchattr.evaluate.faithfulness_correlation` of `nr_runs` sets of elements."""

    defaults = options(
        {**_COMPARED, "nr_runs": 100, "subset_size": 224},
        abs=False,
        normalise=True,
        then=REPLACING,
        return_aggregate=True,
    )
    refused: ClassVar[Mapping[str, str]] = _CORRELATED
    softmax = False

    def scores(self, batch: Batch) -> Tensor:
        return evaluate.faithfulness_correlation(
            batch.model,
            batch.x,
            batch.maps,
            batch.y,
            subset_size=self.options["subset_size"],
            n_samples=self.options["nr_runs"],
            feature_mask=elements(batch.x),
            **self.replacing(batch),
        )


class FaithfulnessEstimate(_Replacing):
    """:func:`torchattr.evaluate.faithfulness_estimate`.

    As in Quantus, `features_in_step` elements that follow each other in the order of the map are
    one feature.
    """

    defaults = options(
        {**_COMPARED, "features_in_step": 1}, abs=False, normalise=True, then=REPLACING
    )
    refused: ClassVar[Mapping[str, str]] = _CORRELATED
    softmax = False

    def scores(self, batch: Batch) -> Tensor:
        maps = batch.maps
        return evaluate.faithfulness_estimate(
            batch.model,
            batch.x,
            maps,
            batch.y,
            feature_mask=ranked(maps, batch.x, self.options["features_in_step"]),
            **self.replacing(batch),
        )


class PixelFlipping(_Replacing):
    """The scores of :func:`torchattr.evaluate.pixel_flipping` after each step, or their area.

    A list for each example, without the score of the whole picture. With `return_auc_per_sample`
    the area below the curve by the *fraction* of elements, which Quantus 0.6 counts in steps and
    without its beginning.
    """

    defaults = options(
        {"features_in_step": 1},
        abs=False,
        normalise=True,
        then=REPLACING,
        last={"return_auc_per_sample": False},
    )

    def scores(self, batch: Batch) -> Tensor:
        curve = evaluate.pixel_flipping(
            batch.model,
            batch.x,
            batch.maps,
            batch.y,
            steps=share(self.options["features_in_step"], batch.x),
            feature_mask=elements(batch.x),
            **self.replacing(batch),
        )
        return curve.auc if self.options["return_auc_per_sample"] else curve.scores[:, 1:]


class RegionPerturbation(_Replacing):
    """How far the score falls, by :func:`torchattr.evaluate.region_perturbation`.

    A list for each example: the fall after each of `regions_evaluation` regions.
    """

    defaults = options(
        {"patch_size": 8, "order": "morf", "regions_evaluation": 100},
        abs=False,
        normalise=True,
        then=REPLACING,
    )

    def scores(self, batch: Batch) -> Tensor:
        name = self.options["order"]
        check_choice("order", name, _ORDERS)
        generator = torch.Generator().manual_seed(0)
        random = torch.rand(batch.x[:, :1].shape, generator=generator).to(batch.x)
        curve = evaluate.region_perturbation(
            batch.model,
            batch.x,
            random if name == "random" else batch.maps,
            batch.y,
            size=self.options["patch_size"],
            regions=self.options["regions_evaluation"],
            order=_ORDERS[name],
            **self.replacing(batch),
        )
        return curve.scores[:, :1] - curve.scores[:, 1:]


_ORDERS: dict[str, Any] = {"morf": "most", "lerf": "least", "random": "most"}


class Selectivity(_Replacing):
    """The scores as patches are removed, the most relevant first: a list for each example.

    :func:`torchattr.evaluate.selectivity` is the area below them.
    """

    defaults = options({"patch_size": 8}, abs=False, normalise=True, then=REPLACING)

    def scores(self, batch: Batch) -> Tensor:
        size = self.options["patch_size"]
        curve = evaluate.region_perturbation(
            batch.model,
            batch.x,
            batch.maps,
            batch.y,
            size=size,
            regions=ceil(batch.x.shape[2] / size) * ceil(batch.x.shape[3] / size),
            **self.replacing(batch),
        )
        return curve.scores[:, 1:]


class SensitivityN(_Replacing):
    """The mean of :func:`torchattr.evaluate.sensitivity_n` over sizes up to `n_max_percentage`.

    One value for each example, over 100 random sets of each size, as in the paper. Quantus 0.6 has
    no random sets: it correlates worth and loss *across examples*, of the first batch alone, as the
    elements of the largest attribution go.
    """

    defaults = options(
        {**_COMPARED, "n_max_percentage": 0.8, "features_in_step": 1},
        abs=False,
        normalise=True,
        then=REPLACING,
        return_aggregate=True,
    )
    refused: ClassVar[Mapping[str, str]] = _CORRELATED

    def scores(self, batch: Batch) -> Tensor:
        count, step = batch.x[0].numel(), self.options["features_in_step"]
        most = min(int(self.options["n_max_percentage"] * count), count - 1)
        found = evaluate.sensitivity_n(
            batch.model,
            batch.x,
            batch.maps,
            batch.y,
            sizes=range(step, most + 1, step),
            feature_mask=elements(batch.x),
            **self.replacing(batch),
        )
        return found.mean(-1)


class IROF(_Replacing):
    """:func:`torchattr.evaluate.irof` of superpixels, at most 1.

    Quantus 0.6 counts the area in segments, so that it depends on their number, and fails for
    pictures of several channels.
    """

    defaults = options(
        {"segmentation_method": "slic"},
        abs=False,
        normalise=True,
        then={**REPLACING, "perturb_baseline": "mean"},
        return_aggregate=True,
    )
    refused: ClassVar[Mapping[str, str]] = {
        **_REPLACED,
        "segmentation_method": "torchattr.evaluate.irof takes any feature_mask",
    }

    def scores(self, batch: Batch) -> Tensor:
        return evaluate.irof(
            batch.model,
            batch.x,
            batch.maps,
            batch.y,
            feature_mask=evaluate.superpixels(batch.x),
            **self.replacing(batch),
        )


class Monotonicity(_Replacing):
    """Whether the score never falls as elements are restored, the least important first.

    True where :func:`torchattr.evaluate.monotonicity` is 1, which allows for rounding; NaN with a
    warning for constant maps, which have no order. Quantus 0.6 restores black: nothing ever
    changes, and every map passes.
    """

    defaults = options({"features_in_step": 1}, abs=True, normalise=True, then=REPLACING)

    def scores(self, batch: Batch) -> list[float]:
        found = evaluate.monotonicity(
            batch.model,
            batch.x,
            batch.maps,
            batch.y,
            steps=share(self.options["features_in_step"], batch.x),
            feature_mask=elements(batch.x),
            **self.replacing(batch),
        )
        return [share if share != share else share == 1 for share in found.tolist()]


class MonotonicityCorrelation(Metric):
    """:func:`torchattr.evaluate.monotonicity_correlation`, with noise in the range of each channel.

    As in Quantus, `features_in_step` elements that follow each other in the order of the map are
    one feature. There all of them get the same value between 0 and 1, whatever the input's range.
    """

    defaults = options(
        {**_COMPARED, "eps": 1e-5, "nr_samples": 100, "features_in_step": 1},
        abs=True,
        normalise=True,
        then={**REPLACING, "perturb_baseline": "uniform"},
    )
    refused: ClassVar[Mapping[str, str]] = {
        **_CORRELATED,
        "perturb_baseline": "features are drawn anew, as in the paper",
        "eps": "the score's own size changes no rank",
    }
    softmax = True

    def scores(self, batch: Batch) -> Tensor:
        maps = batch.maps
        return evaluate.monotonicity_correlation(
            batch.model,
            batch.x,
            maps,
            batch.y,
            n_samples=self.options["nr_samples"],
            feature_mask=ranked(maps, batch.x, self.options["features_in_step"]),
            activation=batch.activation,
            show_progress=self.options["display_progressbar"],
        )


class ROAD(Metric):
    """The accuracy after noisy linear imputation, by percentage: :func:`torchattr.evaluate.road`.

    A dict over all examples but those with constant maps, which have no order. Quantus 0.6 takes
    those of the first batch alone, and fails for pictures of several channels.
    """

    defaults = options(
        {"percentages": None, "noise": 0.01},
        abs=False,
        normalise=True,
        then={"perturb_func": None, "perturb_func_kwargs": None},
    )
    refused: ClassVar[Mapping[str, str]] = {
        "perturb_func": "pixels are imputed, as in the paper",
        "perturb_func_kwargs": "pixels are imputed, as in the paper",
        "return_aggregate": "accuracies are means over the examples already",
    }
    softmax = True

    @property
    def percentages(self) -> list[float]:
        """The percentages of pixels to remove, rising."""
        return list(self.options["percentages"] or range(1, 100, 2))

    def scores(self, batch: Batch) -> Tensor:
        curve = evaluate.road(
            batch.model,
            batch.x,
            batch.maps,
            Classes(range(batch.class_scores.shape[1])),
            fractions=[percentage / 100 for percentage in self.percentages],
            noise=self.options["noise"],
            activation="none",
            show_progress=self.options["display_progressbar"],
        )
        after = curve.scores[..., 1:]
        right = (after.argmax(1) == batch.y[:, None]).double()
        return right.masked_fill(after.isnan().any(1), torch.nan)

    def collected(self, scores: list[Any]) -> Any:
        accuracies = torch.tensor(scores, dtype=torch.float64).nanmean(0).tolist()
        return dict(zip(self.percentages, accuracies, strict=True))


class Infidelity(_Replacing):
    """:func:`torchattr.evaluate.square_infidelity`, the mean over the sizes of patches.

    Each square is replaced on its own, as in the paper; what replaces it does not vary, so that
    `n_perturb_samples` changes nothing. Quantus 0.6 leaves the squares before it replaced, too.
    """

    defaults = options(
        {"loss_func": "mse", "perturb_patch_sizes": None, "n_perturb_samples": 10},
        abs=False,
        normalise=False,
        then=REPLACING,
    )
    refused: ClassVar[Mapping[str, str]] = {
        **_REPLACED,
        "loss_func": "it is the squared error of the paper",
    }
    softmax = False

    def scores(self, batch: Batch) -> Tensor:
        maps = batch.maps
        sizes = self.options["perturb_patch_sizes"] or [4]
        found = [
            evaluate.square_infidelity(
                batch.model, batch.x, maps, batch.y, size=size, **self.replacing(batch)
            )
            for size in sizes
        ]
        return torch.stack(found).mean(0)


class Sufficiency(Metric):
    """:func:`torchattr.evaluate.sufficiency` of the maps and the predicted classes.

    Distances are those of maps scaled to the norm 1. Quantus 0.6 divides each pixel by its variance
    over the batch and distances by the largest, and gives 0 where no other map is similar.
    """

    defaults = options({"threshold": 0.6, "distance_func": "seuclidean"}, abs=True, normalise=True)
    refused: ClassVar[Mapping[str, str]] = {
        "distance_func": "maps are compared after they are scaled to the norm 1"
    }
    softmax = True
    whole = True

    def scores(self, batch: Batch) -> Tensor:
        threshold = self.options["threshold"]
        return evaluate.sufficiency(batch.maps, batch.predictions, threshold=threshold)


def share(step: int, x: Tensor) -> float:
    """Return the share of the elements that are replaced in each step, below 1, or one step."""
    count = x[0].numel()
    return step / count if step < count else 1
