"""Copies of a batch in which a feature's values are permuted among the examples."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.incremental import Change
from torchattr.kernels import Boxes
from torchattr.methods._perturbation.perturbation import Perturbation, pixels_of
from torchattr.methods._perturbation.random_numbers import key_of, uniform
from torchattr.methods._perturbation.segments import Segments

Permute = Callable[[int, Tensor, Tensor], Tensor]
"""From the number of a feature, an input, and the mask of the feature to the permuted input."""


class PermutedSegments(Segments):
    """Features whose values are permuted among the examples.

    One that has elements in an input of fewer than two rows cannot be: it has no effect.
    """

    @property
    def fixed(self) -> Tensor:
        """Whether each feature cannot be permuted, on the CPU."""
        fixed = torch.zeros(len(self), dtype=torch.bool)
        for index, shape in zip(self._indices, self._shapes, strict=True):
            if shape[0] < 2:
                fixed[index.reshape(-1).cpu()] = True
        return fixed

    def effects(self, clean: Tensor, replaced: Tensor) -> Tensor:
        effects = super().effects(clean, replaced)
        return torch.where(self.fixed.to(effects.device)[:, None, None], 0, effects)


class PermutedCopies(Perturbation):
    """Makes copies of a batch, each with the values of one feature permuted among the examples.

    Args:
        inputs: the batch.
        features: the features.
        permute: permutes one of them.
        images: the examples of the batch that are wanted.
    """

    def __init__(
        self,
        inputs: Inputs,
        features: PermutedSegments,
        permute: Permute,
        images: slice = slice(None),
    ) -> None:
        super().__init__(inputs, [0] * len(inputs.tensors), features)
        self._features, self._permute, self._batch, self._images = (
            features,
            permute,
            inputs,
            images,
        )

    def perturbed(self, start: int, stop: int) -> list[Tensor]:
        masks = self._features.masks(start, stop)
        return [self._permuted(position, mask, start, stop) for position, mask in enumerate(masks)]

    def changes(self, start: int, stop: int) -> list[Change]:
        # Made once: drawing a permutation again would give another one.
        copies = cache(partial(self.perturbed, start, stop))
        return [
            Change(
                box,
                partial(_cut_out, copies, position, box),
                partial(_copied, copies, position),
            )
            for position, box in enumerate(self.boxes(start, stop))
        ]

    def of_images(self, images: slice) -> PermutedCopies:
        subset = PermutedCopies(self._batch, self._features, self._permute, images)
        tensors = tuple(tensor[images] for tensor in self._batch.tensors)
        subset.inputs = Inputs(tensors, self._batch.is_tuple)
        subset.masks = super().of_images(images).masks
        return subset

    def _permuted(self, position: int, mask: Tensor | None, start: int, stop: int) -> Tensor:
        tensor = self._batch.tensors[position].detach()
        whole = tensor.repeat(stop - start, *(1 for _ in tensor.shape[1:]))
        if mask is None or len(tensor) < 2:
            return whole if len(tensor) < 2 else _rows(whole, stop - start, self._images)
        blocks = whole.unflatten(0, (stop - start, len(tensor)))
        for copy, own in enumerate(mask):
            if own.any():
                blocks[copy] = self._permute(start + copy, tensor, own)
        return blocks[:, self._images].flatten(0, 1)


def _rows(whole: Tensor, copies: int, images: slice) -> Tensor:
    return whole.unflatten(0, (copies, -1))[:, images].flatten(0, 1)


def _copied(copies: Callable[[], list[Tensor]], position: int) -> Tensor:
    return copies()[position]


def _cut_out(copies: Callable[[], list[Tensor]], position: int, boxes: Boxes | None) -> Tensor:
    if boxes is None:
        raise ValueError("only what changes in boxes can be cut out")
    copied = copies()[position]
    copy, y, x = pixels_of(boxes, copied.device)
    return copied[copy, :, y, x]


def seeded_permutation(seed: int) -> Permute:
    """Return what permutes each feature by an order that depends on its number and the seed."""

    def permute(feature: int, tensor: Tensor, mask: Tensor) -> Tensor:
        keys = uniform(key_of(seed, 0), feature, feature + 1, len(tensor))[0]
        order = torch.from_numpy(keys.argsort(kind="stable")).to(tensor.device)
        if torch.equal(order, torch.arange(len(order), device=order.device)):
            order = order.roll(1)
        return torch.where(mask, tensor[order], tensor)

    return permute
