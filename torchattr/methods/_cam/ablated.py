"""The scores of a batch with one channel of a layer at a time set to 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from torchattr.core.device_faults import raise_if_lost
from torchattr.core.inputs import Inputs
from torchattr.core.rounding import unit
from torchattr.incremental import Diverged, NoSuffix, Suffix
from torchattr.layers import Layout
from torchattr.methods._cam.replaced import with_values
from torchattr.methods._gradient.grids import Grids
from torchattr.methods._perturbation.batch_repeat import repeat_rows
from torchattr.methods._perturbation.memory_budget import fitting, in_batches
from torchattr.methods._perturbation.scores import NotPerExample, TargetScores

MOST_RECORDED = 2**29
"""Limit on the clean activations of a recorded forward, in bytes; it bounds a group of images."""

_ROUNDINGS = 2**12
"""How many units of rounding scores may differ by that are computed in other batches."""


class AblatedScores:
    """Scores of copies of a batch in which a channel of a layer is 0.

    Where possible, only what follows the layer runs for the copies; otherwise all of the model.

    Args:
        scores: the scores of the batch.
        inputs: the batch.
        module: the layer, which returns one tensor.
        call: which of its calls, by position.
        at_once: number of channels in one forward; `None` chooses.
        incremental: whether to run only what follows the layer.
        bar: the progress bar.
    """

    def __init__(
        self,
        scores: TargetScores,
        inputs: Inputs,
        module: nn.Module,
        call: int,
        *,
        at_once: int | None,
        incremental: bool,
        bar: tqdm,
    ) -> None:
        self._scores = scores
        self._inputs = inputs
        self._module = module
        self._call = call
        self._at_once = at_once
        self._incremental = incremental
        self._bar = bar

    def of_channels(self, value: Tensor, grids: Callable[[Inputs], Grids], layout: Any) -> Tensor:
        """Return the score without each channel, `(channels, N, targets)`.

        Args:
            value: the layer's values.
            grids: reads values of some of the inputs.
            layout: the layout that was inferred, or why there is none.
        """
        of_groups = []
        for images in self._groups():
            tensors = tuple(tensor[images] for tensor in self._inputs.tensors)
            inputs = Inputs(tensors, self._inputs.is_tuple)
            batch = layout.batch if isinstance(layout, Layout) else 0
            own = value.narrow(batch, images.start, images.stop - images.start)
            group = _Group(self, self._scores.of_images(images), inputs, own, batch)
            of_groups.append(group.scores_of(places_of(own, grids(inputs), layout)))
        return torch.cat(of_groups, dim=1)

    def _groups(self) -> Iterator[slice]:
        """Yield the images in groups whose clean activations can be kept."""
        total = max(self._scores.footprint.total, 1)
        size = max(MOST_RECORDED * self._scores.batch // total, 1)
        size = size if self._scores.divisible and self._incremental else self._scores.batch
        # An empty batch is one group, too, whose result is empty.
        for start in range(0, max(self._scores.batch, 1), max(size, 1)):
            yield slice(start, min(start + size, self._scores.batch))


class _Group:
    """Some of the images."""

    def __init__(
        self, run: AblatedScores, scores: TargetScores, inputs: Inputs, value: Tensor, batch: int
    ) -> None:
        self._run = run
        self._scores = scores
        self._inputs = inputs
        self._value = value
        self._batch = batch
        footprint, device = scores.footprint, value.device
        fit = fitting(footprint.bytes, footprint, inputs.batch_size, device)
        self._size = (run._at_once or fit) if scores.repeatable else 1

    def scores_of(self, places: Tensor) -> Tensor:
        """Return the score without each channel, `(channels, N, targets)`.

        Args:
            places: the elements of each channel, `(channels, elements)`.
        """
        # A suffix is recognised by its scores, of which an empty batch has none.
        comparable = self._run._incremental and self._batch == 0 and self._inputs.batch_size > 0
        suffix = self._suffix() if comparable else None
        if suffix is not None:
            try:
                return self._all(places, partial(self._behind, suffix))
            except (Diverged, NotPerExample):
                self._run._bar.refresh()
        return self._all(places, self._whole)

    def _suffix(self) -> Suffix | None:
        """Return the part of the model behind the layer, if it gives the clean scores."""
        run, tensors = self._run, self._inputs.tensors
        try:
            suffix = Suffix(
                self._scores.model, tensors, self._scores.arguments, run._module, run._call
            )
            copies = 2 if self._scores.repeatable else 1
            found = self._behind(suffix, self._copies(copies), copies)
        except (NoSuffix, Diverged, NotPerExample):
            return None
        except Exception as error:  # noqa: BLE001 - the model's own errors come again from copies
            raise_if_lost(error)
            return None
        clean = self._scores.clean
        allowed = _ROUNDINGS * unit(clean) * clean.abs().amax()
        return suffix if bool(((found - clean).abs() <= allowed).all()) else None

    def _all(self, places: Tensor, score: Callable[[Tensor, int], Tensor]) -> Tensor:
        def evaluate(start: int, stop: int) -> Tensor:
            copies = self._copies(stop - start)
            found = score(copies.flatten(1).scatter_(1, places[start:stop], 0), stop - start)
            self._run._bar.update(stop - start)
            return found

        return torch.cat(list(in_batches(len(places), self._size, evaluate, "ablated copy")))

    def _copies(self, count: int) -> Tensor:
        return self._value.expand(count, *self._value.shape).clone()

    def _behind(self, suffix: Suffix, copies: Tensor, count: int) -> Tensor:
        replaced = self._merged(copies, count)
        return self._scores.of((), count, lambda model: suffix.around(model, replaced, count))

    def _whole(self, copies: Tensor, count: int) -> Tensor:
        replaced = self._merged(copies, count)
        tensors = [repeat_rows(tensor, count) for tensor in self._inputs.tensors]
        module, call = self._run._module, self._run._call
        return self._scores.of(
            tensors, count, lambda model: with_values(model, module, replaced, call)
        )

    def _merged(self, copies: Tensor, count: int) -> Tensor:
        """Return copies of the layer's values as those of a larger batch."""
        apart = copies.view(count, *self._value.shape)
        return apart.movedim(0, self._batch).flatten(self._batch, self._batch + 1)


def places_of(value: Tensor, grids: Grids, layout: Any) -> Tensor:
    """Return which elements of a layer's values each channel has, `(channels, elements)`."""
    # In double precision, since a layout of the user's may be made for floating values.
    numbers = torch.arange(value.numel(), dtype=torch.float64, device=value.device)
    grid, _ = grids.of(numbers.view(value.shape), numbers.view(value.shape), layout)
    return grid.transpose(0, 1).flatten(1).long()
