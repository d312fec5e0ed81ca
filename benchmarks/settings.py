"""The settings of a benchmark run, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.tasks import METHODS

NETWORKS = ("alexnet", "mobilenet_v2", "googlenet", "densenet121", "resnet50", "vgg16")
"""From the cheapest to the most expensive."""


@dataclass(frozen=True)
class Settings:
    """The settings of a run. Everything that depends on the device or on `quick` is decided here.

    Attributes:
        device: the device of models and images.
        rounds: number of rounds for figures with a target; for others the maximum, limited by
            the budget.
        quick: tiny images and one round, to check that everything runs; its times are meaningless.
        networks: the networks of the cases `methods` and `incremental`; the latter uses all of its
            own if these are the default ones.
        largest: the largest batch of `methods`, if it is bounded.
        whole: whether the case `incremental` never stops a side early.
        methods: the methods of the case `methods`.
    """

    device: torch.device
    rounds: int = 5
    quick: bool = False
    networks: tuple[str, ...] = NETWORKS
    largest: int | None = None
    whole: bool = False
    methods: tuple[str, ...] = METHODS

    def among(self, own: Iterable[str]) -> list[str]:
        """Return those of a case's own networks that were requested."""
        return [name for name in own if self.networks == NETWORKS or name in self.networks]

    def renews(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of results is measured again."""
        is_small = self.largest is None or row.get("batch", 0) <= self.largest
        is_asked = row.get("method", self.methods[0]) in self.methods
        return row.get("network", self.networks[0]) in self.networks and is_asked and is_small

    @property
    def size(self) -> int:
        """The side of an image, in pixels."""
        return 96 if self.quick else 224

    @property
    def batches(self) -> tuple[int, ...]:
        if self.quick:
            return 1, 2
        every = (1, 8, 64, 256) if self.on_gpu else (1, 8, 64)
        return tuple(batch for batch in every if self.largest is None or batch <= self.largest)

    @property
    def batch(self) -> int:
        """The batch size of cases with a single one."""
        return 2 if self.quick else 8

    @property
    def growth_batches(self) -> tuple[int, ...]:
        return (1, 2) if self.quick else (1, 8, 16, 32)

    @property
    def budget(self) -> float:
        """Seconds of rounds for each cell of a table; at least one round is run."""
        return 0.0 if self.quick else 10.0

    @property
    def longest_round(self) -> float:
        """Predicted seconds per round above which a cell is skipped, with a remark."""
        return 100.0

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"
