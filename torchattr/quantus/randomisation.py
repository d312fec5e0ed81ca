"""Randomisation, under Quantus' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from torchattr import evaluate
from torchattr.errors import InputError
from torchattr.quantus.metric import Batch, Metric
from torchattr.quantus.signatures import options

_COMPARED = {"similarity_func": "torchattr.evaluate.mprt takes a similarity by name"}
_ORDERS: Mapping[str, tuple[Any, bool]] = {
    "top_down": ("top_down", True),
    "bottom_up": ("bottom_up", True),
    "independent": ("top_down", False),
}


class _Randomising(Metric):
    """A metric that compares maps with those of a model whose layers are drawn anew.

    A dict from the last randomised layer to the similarities of all examples; with
    `return_average_correlation` or `return_last_correlation` a list for the examples.
    """

    refused: ClassVar[Mapping[str, str]] = _COMPARED
    whole = True

    def randomised(self, batch: Batch, found: evaluate.Randomisation) -> list[Any]:
        """Return the similarities in the form that the options ask for."""
        (similarities,) = (found[name] for name in found)
        if self.options["return_average_correlation"]:
            averages: list[Any] = similarities.mean(1).tolist()
            return averages
        if self.options["return_last_correlation"]:
            last: list[Any] = similarities[:, -1].tolist()
            return last
        by_layer = dict(zip(found.layers, similarities.T.tolist(), strict=True))
        return [by_layer]

    def collected(self, scores: list[Any]) -> Any:
        return scores[0] if scores and isinstance(scores[0], dict) else scores

    def settings(self) -> dict[str, Any]:
        """Return the order, the number of steps and the seed.

        Raises:
            InputError: an unknown order.
        """
        name = self.options["layer_order"]
        if name not in _ORDERS:
            raise InputError(
                f"layer_order must be one of {', '.join(map(repr, _ORDERS))}, got {name!r}"
            )
        order, cascading = _ORDERS[name]
        steps = 1 if self.options["skip_layers"] else None
        seed, progress = self.options["seed"], self.options["display_progressbar"]
        return {
            "order": order,
            "cascading": cascading,
            "steps": steps,
            "seed": seed,
            "show_progress": progress,
        }


class MPRT(_Randomising):
    """:func:`torchattr.evaluate.mprt`, rank correlations of magnitudes unless `abs=False`.

    Quantus 0.6 follows the order in which modules are registered, draws the layers that the output
    does not depend on as well, and keeps parameters of modules without `reset_parameters`.
    """

    defaults = options(
        {
            "similarity_func": None,
            "layer_order": "top_down",
            "seed": 42,
            "return_sample_correlation": None,
            "return_average_correlation": False,
            "return_last_correlation": False,
            "skip_layers": False,
        },
        abs=True,
        normalise=True,
    )
    refused: ClassVar[Mapping[str, str]] = {
        **_COMPARED,
        "return_sample_correlation": "it is called return_average_correlation",
    }

    def scores(self, batch: Batch) -> list[Any]:
        found = evaluate.mprt(batch.model, batch.x, [batch.explaining], batch.y, **self.settings())
        return self.randomised(batch, found)


class SmoothMPRT(_Randomising):
    """:func:`torchattr.evaluate.smooth_mprt`; see :class:`MPRT`.

    Quantus 0.6 normalises maps by their second moment by default, which changes no rank.
    """

    defaults = options(
        {
            "similarity_func": None,
            "layer_order": "bottom_up",
            "seed": 42,
            "nr_samples": 50,
            "noise_magnitude": 0.1,
            "return_average_correlation": False,
            "return_last_correlation": False,
            "skip_layers": False,
        },
        abs=True,
        normalise=True,
    )

    def scores(self, batch: Batch) -> list[Any]:
        found = evaluate.smooth_mprt(
            batch.model,
            batch.x,
            [batch.explaining],
            batch.y,
            n_samples=self.options["nr_samples"],
            noise=self.options["noise_magnitude"],
            **self.settings(),
        )
        return self.randomised(batch, found)


class EfficientMPRT(Metric):
    """:func:`torchattr.evaluate.efficient_mprt`.

    All layers are random at once. Quantus 0.6 chooses the number of bins from the first maps; here
    it is the same for all.
    """

    defaults = options(
        {
            "complexity_func": None,
            "complexity_func_kwargs": None,
            "similarity_func": None,
            "layer_order": "bottom_up",
            "seed": 42,
            "compute_extra_scores": False,
            "skip_layers": True,
        },
        abs=False,
        normalise=False,
    )
    refused: ClassVar[Mapping[str, str]] = {
        "complexity_func": "it is the entropy of a histogram",
        "complexity_func_kwargs": "torchattr.evaluate.efficient_mprt takes bins",
        "similarity_func": "no maps are compared",
        "layer_order": "all layers are random at once",
        "compute_extra_scores": "torchattr.evaluate.mprt has the similarities",
        "skip_layers": "torchattr.evaluate.mprt has the layers between",
    }
    softmax = True
    whole = True

    def scores(self, batch: Batch) -> Tensor:
        found = evaluate.efficient_mprt(
            batch.model, batch.x, [batch.explaining], batch.y, seed=self.options["seed"]
        )
        (values,) = found.values()
        return values


class RandomLogit(Metric):
    """:func:`torchattr.evaluate.random_logit`, by structural similarity.

    The other class is one of the model's, whatever `num_classes` says. Quantus 0.6 computes the
    similarity of maps as flat rows.
    """

    defaults = options(
        {"similarity_func": None, "num_classes": 1000, "seed": 42}, abs=False, normalise=True
    )
    refused: ClassVar[Mapping[str, str]] = {
        "similarity_func": "torchattr.evaluate.random_logit takes a similarity by name"
    }

    def scores(self, batch: Batch) -> Tensor:
        found = evaluate.random_logit(
            batch.model,
            batch.x,
            [batch.explaining],
            batch.y,
            absolute=self.options["abs"],
            seed=self.options["seed"],
        )
        (values,) = found.values()
        return values
