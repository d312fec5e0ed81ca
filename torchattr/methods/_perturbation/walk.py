"""Scores along a walk through coalitions, on which one feature joins or leaves at each step.

Several tracks are walked at once, each with a picture of its own. A track follows its first order
from no feature to all of them, its second one back from all to none, and so on. Each step
recomputes only what the feature that joins or leaves can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from torchattr.core.device_faults import raise_if_lost
from torchattr.core.stepping import counted
from torchattr.incremental import Change, Diverged, Incremental, Mode, Recomputed
from torchattr.kernels import Boxes
from torchattr.methods._perturbation.batch_repeat import Copies, repeat_rows
from torchattr.methods._perturbation.coalitions import OrderedCoalitions
from torchattr.methods._perturbation.incremental_scores import (
    CPU_COPIES,
    MOST_RECORDED,
    groups_of,
    nothing_saved,
    obstacle,
)
from torchattr.methods._perturbation.memory_budget import first_line
from torchattr.methods._perturbation.perturbation import Perturbation, pixels_of
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores

Ints = NDArray[np.int64]


def scores_on_walk(
    coalitions: OrderedCoalitions,
    perturbation: Perturbation,
    scores: TargetScores,
    mode: Mode,
    bar: tqdm,
) -> tuple[Tensor | None, Recomputed]:
    """Return the scores of ordered coalitions, `(coalitions, rows, targets)`, or `None`.

    Args:
        coalitions: the coalitions.
        perturbation: the copies of the inputs that keep them.
        scores: the scores to evaluate.
        mode: recompute incrementally as far as possible (`True`), or as far as it is faster
            (`"auto"`).
        bar: the progress bar.
    """
    reason = "incremental=False" if mode is False else obstacle(perturbation, scores, mode)
    if reason:
        return None, Recomputed(0, 0, 0.0, (reason,))
    values, recomputed = [], Recomputed(0, 0, 0.0)
    try:
        for images in groups_of(scores):
            walk = Walk(coalitions, perturbation, scores, images, mode)
            recomputed = walk.recomputed
            if not walk.saves:
                return None, recomputed
            values.append(walk.values(bar))
    except (Diverged, NotPerExample) as error:
        return None, nothing_saved(recomputed, str(error))
    except Exception as error:  # noqa: BLE001 - the model's own errors come again from whole copies
        raise_if_lost(error)
        reason = f"incremental computation failed ({type(error).__name__}: {first_line(error)})"
        return None, nothing_saved(recomputed, reason)
    return torch.cat(values, dim=1), recomputed


class Walk:
    """A walk through the coalitions of some images.

    Args:
        coalitions: the coalitions.
        perturbation: the copies of the inputs that keep them.
        scores: the scores to evaluate, of all images.
        images: those that are walked.
        mode: how far to recompute incrementally.
    """

    def __init__(
        self,
        coalitions: OrderedCoalitions,
        perturbation: Perturbation,
        scores: TargetScores,
        images: slice,
        mode: Mode,
    ) -> None:
        self._features, self._images = coalitions.features, images
        own = images if coalitions.rows > 1 else slice(None)
        self._orders = coalitions.ranks[:, own].argsort(2).numpy()
        self._of_all, self._scores = scores.batch, scores.of_images(images)
        tensors = [tensor.detach()[images] for tensor in perturbation.inputs.tensors]
        self._batch = len(tensors[0])
        self._tracks = self._fitting()
        self._full = [repeat_rows(tensor, self._tracks) for tensor in tensors]
        none = perturbation.of_images(images).perturbed(0, 1)
        self._none = [repeat_rows(tensor, self._tracks) for tensor in none]
        self._first = self._scores.of(none)
        self._pictures = [tensor.clone() for tensor in self._none]
        self._session = Incremental(
            scores.model,
            self._none,
            self._scores.arguments_for(Copies(self._tracks)),
            mode,
            self._sampled(),
            self._tracks * self._batch,
            follow=True,
        )

    @property
    def recomputed(self) -> Recomputed:
        return self._session.recomputed

    @property
    def saves(self) -> bool:
        return self._session.saves

    def values(self, bar: tqdm) -> Tensor:
        """Return the scores of all coalitions of these images."""
        orders, features = len(self._orders), len(self._features)
        bar.reset(total=orders * features)
        found = self._first.new_empty(orders, features + 1, *self._first.shape[1:])
        found[:, 0] = self._first
        self._settle()
        done = 0
        with counted(orders * features) as begin:
            for start in range(0, orders, self._tracks):
                walked = slice(start, min(start + self._tracks, orders))
                forward, tracks = start // self._tracks % 2 == 0, walked.stop - start
                for size, joined in self._steps(walked, forward=forward):
                    begin(done, done + tracks)
                    found[walked, size] = self._moved(joined, joins=forward)[:tracks]
                    bar.update(tracks)
                    done += tracks
        return found[:, :-1].flatten(0, 1)

    def _steps(self, walked: slice, *, forward: bool) -> Iterator[tuple[int, Ints]]:
        """Yield the size of the coalitions after each step, and the feature that joins or leaves.

        Features are `(tracks, N or 1)`; tracks without an order have none, which is -1.
        """
        orders = self._orders[walked]
        rest = np.full((self._tracks - len(orders), *orders.shape[1:]), -1)
        each = np.concatenate([orders, rest])
        features = each.shape[2]
        for position in range(features) if forward else reversed(range(features)):
            yield position + 1 if forward else position, each[:, :, position]

    def _moved(self, features: Ints, *, joins: bool) -> Tensor:
        """Let a feature join or leave on each track, and return the scores, `(tracks, N, targets)`.

        Args:
            features: those features, `(tracks, N or 1)`.
            joins: whether they join.
        """
        self._toggle(features, self._full if joins else self._none)
        changes = [
            Change(boxes, _rows(pictures, boxes), pictures.clone)
            for pictures, boxes in zip(self._pictures, self._boxes(features), strict=True)
        ]
        return self._scores.of(
            (), self._tracks, lambda model: self._session.around(model, changes, 1)
        )

    def _toggle(self, features: Ints, values: list[Tensor]) -> None:
        """Take the elements of the features from other pictures."""
        for number, (mask, other) in enumerate(zip(self._masks(features), values, strict=True)):
            shown = self._pictures[number]
            own = mask[:, self._images] if mask.shape[1] > 1 else mask
            whole = own.expand(-1, self._batch, *shown.shape[1:]).flatten(0, 1)
            self._pictures[number] = torch.where(whole, other, shown)

    def _masks(self, features: Ints) -> list[Tensor]:
        """Return the masks of features `(tracks, N or 1)`, for one image or all of the batch."""
        table = features[..., None] == np.arange(len(self._features))
        if features.shape[1] > 1:
            of_all = np.zeros((len(table), self._of_all, table.shape[2]), dtype=bool)
            of_all[:, self._images] = table
            table = of_all
        return self._features.of_elements(torch.from_numpy(table))

    def _boxes(self, features: Ints) -> list[Boxes | None]:
        """Return the boxes that features of each track have in its pictures."""
        each = np.broadcast_to(features, (len(features), self._batch)).reshape(-1)
        return [
            None if sides is None else self._sides(sides, each) for sides in self._features.sides
        ]

    def _sides(self, sides: Ints, features: Ints) -> Boxes:
        own = sides[:, self._images] if sides.shape[1] > 1 else sides
        images = np.arange(len(features)) % self._batch % own.shape[1]
        chosen = np.where((features < 0)[:, None], 0, own[features, images])
        return Boxes.of(np.arange(len(features)), *chosen.T)

    def _sampled(self) -> list[Boxes | None]:
        """Return the boxes of features taken evenly from all, one for each picture."""
        count = self._tracks * self._batch
        numbers = np.linspace(0, len(self._features) - 1, count).round().astype(np.int64)
        return self._boxes(numbers.reshape(self._tracks, self._batch))

    def _settle(self) -> None:
        """Let caches of weights have what is left of the memory."""
        pictures = self._tracks * self._batch
        self._session.settle(self._sampled(), MOST_RECORDED * 2, pictures)

    def _fitting(self) -> int:
        """Return the number of tracks whose activations can be kept."""
        picture = max(self._scores.footprint.total // max(self._scores.batch, 1), 1)
        most = MOST_RECORDED // max(picture * self._batch, 1)
        return max(min(most, CPU_COPIES, len(self._orders)), 1)


def _rows(pictures: Tensor, boxes: Boxes | None) -> Callable[[], Tensor]:
    def rows() -> Tensor:
        if boxes is None:
            raise ValueError("only what changes in boxes can be cut out")
        image, y, x = pixels_of(boxes, pictures.device)
        return pictures[image, :, y, x]

    return rows
