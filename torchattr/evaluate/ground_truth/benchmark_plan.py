"""What a benchmark measures: methods that fit a network, and metrics of their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from torchattr.core.warn import unheard
from torchattr.errors import InputError
from torchattr.evaluate.ground_truth.asked_methods import (
    AskedMethod,
    Methods,
    Options,
    asked_methods,
)
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.evaluate.ground_truth.measured_methods import (
    FittingMethods,
    as_large,
    batches_of,
    explanation_of,
    fitting_methods,
    need_some,
    shown_step,
)
from torchattr.evaluate.ground_truth.metrics import MapMetric, On, asked_metrics
from torchattr.explanation import Explanation


@dataclass(frozen=True, eq=False)
class BenchmarkPlan:
    """Methods and metrics, for pictures of one network.

    Attributes:
        methods: the methods.
        metrics: the metrics.
        refused: why other methods were left out, by name.

    >>> from torchattr.evaluate.ground_truth.collage_pictures import collage_pictures
    >>> pictures = collage_pictures(2, seed=1)
    >>> plan = BenchmarkPlan.of(["saliency", "raw_attention"], ["mass"]).fitting_to(pictures)
    >>> list(plan.refused), plan.names
    (['raw_attention'], ['saliency', '(random)', '(edges)', '(centre)'])
    >>> plan.values(pictures).shape
    torch.Size([2, 4, 1])
    """

    methods: Sequence[AskedMethod]
    metrics: Sequence[MapMetric]
    refused: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        methods: Methods,
        metrics: str | Sequence[str] | None,
        options: Options | None = None,
    ) -> BenchmarkPlan:
        """Return the plan of some methods and metrics by name; `None` is all.

        Raises:
            InputError: none, an unknown metric, a name twice, or an option that a method has not.
            InputTypeError: something else than names, classes and functions.
            RegistryError: an unknown method.
        """
        return cls(asked_methods(methods, options), asked_metrics(metrics))

    @property
    def names(self) -> list[str]:
        """The rows: the methods, then the controls in brackets."""
        return self._fitting.names

    @property
    def settings(self) -> dict[str, str]:
        """What bounds the cost of methods and which options were given, by name."""
        return {one.name: one.settings for one in self.methods if one.settings}

    def on(self, *kinds: On) -> BenchmarkPlan:
        """Return the plan with the metrics of some kinds of pictures only."""
        return replace(self, metrics=[one for one in self.metrics if one.on in kinds])

    def on_own_pictures(self) -> BenchmarkPlan:
        """Return the plan with the metrics that need no pictures made for them.

        Raises:
            InputError: there is none.
        """
        plan = self.on("scenes")
        if not plan.metrics:
            names = ", ".join(one.name for one in self.metrics)
            raise InputError(
                f"metrics has only {names}, measured on grids of fresh scenes, not on pictures of"
                " yours; name others"
            )
        return plan

    def fitting_to(
        self,
        pictures: LabelledPictures,
        *,
        only_shared: bool = False,
        show_progress: bool = False,
    ) -> BenchmarkPlan:
        """Return the plan with the methods that fit the network, tried on the first picture.

        Args:
            pictures: the pictures and the network.
            only_shared: leave out the methods that need forwards of their own.
            show_progress: show a progress bar.

        Raises:
            InputError: none fits.
        """
        fitting = fitting_methods(
            pictures.asked, self.methods, show_progress, only_shared=only_shared
        )
        need_some(fitting)
        return replace(self, methods=fitting.methods, refused=fitting.refused)

    def also_fitting(self, pictures: LabelledPictures, tried: LabelledPictures) -> BenchmarkPlan:
        """Return the plan with the methods that fit another network as well.

        Args:
            pictures: the pictures and the network.
            tried: those of the network that the methods are known to fit.
        """
        if pictures.model is tried.model:
            return self
        fitting = fitting_methods(pictures.asked, self.methods)
        refused = {**self.refused, **fitting.refused}
        return replace(self, methods=fitting.methods, refused=refused)

    def without(self, refused: Mapping[str, str]) -> BenchmarkPlan:
        """Return the plan without some methods, by name, for these reasons."""
        left = [one for one in self.methods if one.name not in refused]
        return replace(self, methods=left, refused=dict(refused))

    def steps(self, pictures: LabelledPictures) -> int:
        """Return the number of steps in which the pictures are measured."""
        batches = batches_of(pictures.asked)
        return self._fitting.steps(pictures.asked) + batches * len(self.metrics)

    def explanation(self, pictures: LabelledPictures, names: Sequence[str]) -> Explanation:
        """Return what some of the methods say of pictures, which all are explained at once."""
        by_name = {one.name: one for one in self.methods}
        return explanation_of(pictures.asked, [by_name[name] for name in names])

    def values(
        self,
        pictures: LabelledPictures,
        bar: tqdm[Any] | None = None,
        *,
        first: int = 0,
        rows: Sequence[str] | None = None,
    ) -> Tensor:
        """Return what each metric says of each map, `(N, rows, metrics)`, in double precision.

        NaN where a metric is undefined, or a map is not finite.

        Args:
            pictures: the pictures.
            bar: shows the steps.
            first: the number of the first picture among all that are measured, on which the random
                control depends.
            rows: the names of the rows, by default those of the plan; NaN in all others.
        """
        batches: list[Tensor] = []
        for chosen, maps in self._fitting.explained(pictures.asked, bar, first):
            batch = pictures[chosen]
            named = zip(self.names, maps, strict=True)
            large = torch.stack([as_large(name, one, batch.masks.shape[1:]) for name, one in named])
            batches.append(self._of_batch(batch, large, bar))
        found = torch.cat(batches)
        if rows is None:
            return found
        placed = found.new_full((len(found), len(rows), len(self.metrics)), torch.nan)
        placed[:, [rows.index(name) for name in self.names]] = found
        return placed

    def _of_batch(self, batch: LabelledPictures, maps: Tensor, bar: tqdm[Any] | None) -> Tensor:
        finite = maps.isfinite().flatten(2).all(2)
        measurable = maps.masked_fill(~finite[..., None, None], 0.0)
        found = []
        for metric in self.metrics:
            # Where a metric is undefined, it is NaN, and counted in the intervals.
            with unheard(), shown_step(bar, metric.name):
                values = metric.measure(batch, measurable).double()
            found.append(values.masked_fill(~finite.to(values.device), torch.nan).T.cpu())
        return torch.stack(found, -1)

    @property
    def _fitting(self) -> FittingMethods:
        return FittingMethods(self.methods)
