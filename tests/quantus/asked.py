"""A model, examples with masks, and what Quantus' users pass with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers import seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr import quantus


def model() -> nn.Module:
    """Five scores of pictures `(N, 3, 8, 8)`."""
    stem = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
    return seeded(lambda: nn.Sequential(*stem, nn.Linear(64, 5))).double()


X = np.random.default_rng(0).random((4, 3, 8, 8))
Y = np.array([0, 1, 2, 3])
MASKS = np.zeros((4, 1, 8, 8), bool)
MASKS[:, :, 2:6, 1:5] = True
CELLS = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])

METRICS = {
    name: one
    for name in dir(quantus)
    if isinstance(one := getattr(quantus, name), type)
    and issubclass(one, quantus.Metric)
    and one is not quantus.Metric
}
"""All metrics by name."""

SMALL: dict[str, Any] = {
    "features_in_step": 16,
    "k": 10,
    "nr_runs": 20,
    "nr_samples": 4,
    "percentages": [10, 50],
    "regions_evaluation": 2,
    "subset_size": 40,
}
"""Options that make a call small, of those metrics that have them."""


def small(name: str, **options: Any) -> Any:
    """Return a metric with small options."""
    metric = METRICS[name]
    own = {key: value for key, value in SMALL.items() if key in metric.defaults}
    return metric(**{**own, **options})


def maps(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return maps as `product` does, as tensors."""
    return ta.InputXGradient(net).attribute(x, y).sum(1, keepdim=True)


ASKED: dict[str, Any] = {
    "s_batch": MASKS,
    "custom_batch": CELLS,
    "explain_func": quantus.explain,
    "explain_func_kwargs": {"method": "InputXGradient"},
}
