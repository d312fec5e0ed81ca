"""Copies of the inputs with features replaced by a baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_value
from torchattr.incremental import Change
from torchattr.kernels import Boxes
from torchattr.methods._perturbation.features import FeatureMasks, MaskSubset

Baseline = Tensor | int | float
Masks = Callable[[], list[Tensor | None]]


class Perturbation:
    """Makes copies of the inputs in which masks replace elements by a baseline.

    Args:
        inputs: the batch.
        baselines: for each input a number, or a tensor that broadcasts to it.
        masks: which elements each copy replaces.
    """

    def __init__(self, inputs: Inputs, baselines: Sequence[Baseline], masks: FeatureMasks) -> None:
        self.inputs = inputs
        self._baselines = [
            _fitted(baseline, tensor)
            for baseline, tensor in zip(baselines, inputs.tensors, strict=True)
        ]
        self.masks = masks

    def perturbed(self, start: int, stop: int) -> list[Tensor]:
        """Return copies of the inputs, each with the elements of one mask replaced.

        Returns:
            for each input `((stop - start) · N, ...)`, copy after copy.
        """
        masks = self.masks.masks(start, stop)
        return [self._replaced(at, mask, stop - start) for at, mask in enumerate(masks)]

    def changes(self, start: int, stop: int) -> list[Change]:
        """Return the same copies as changes of the inputs."""
        # Masks of windows are made only if a whole copy is needed: their boxes say it all.
        masks = cache(partial(self.masks.masks, start, stop))
        return [
            Change(
                box,
                partial(self._cut_out, position, masks, box),
                partial(self._copied, position, masks, stop - start),
            )
            for position, box in enumerate(self.boxes(start, stop))
        ]

    def boxes(self, start: int, stop: int) -> list[Boxes | None]:
        """Return for each input the box of its images that each copy changes."""
        return self.masks.boxes(start, stop, [tensor.shape for tensor in self.inputs.tensors])

    def of_images(self, images: slice) -> Perturbation:
        """Return this perturbation of some of the images."""
        tensors = tuple(tensor[images] for tensor in self.inputs.tensors)
        baselines = [
            baseline[images] if baseline.dim() == tensor.dim() and len(baseline) > 1 else baseline
            for baseline, tensor in zip(self._baselines, self.inputs.tensors, strict=True)
        ]
        masks = MaskSubset(self.masks, images)
        return Perturbation(Inputs(tensors, self.inputs.is_tuple), baselines, masks)

    def _copied(self, position: int, masks: Masks, copies: int) -> Tensor:
        return self._replaced(position, masks()[position], copies)

    def _replaced(self, position: int, mask: Tensor | None, copies: int) -> Tensor:
        tensor = self.inputs.tensors[position]
        copied = tensor.detach().expand(copies, *tensor.shape)
        changed = _mixed(copied, self._baselines[position], mask)
        return changed.reshape(copies * len(tensor), *tensor.shape[1:])

    def _cut_out(self, position: int, masks: Masks, boxes: Boxes | None) -> Tensor:
        """Return the pixels of an input's copies that lie in their boxes, `(rows, C)`."""
        if boxes is None:
            raise ValueError("only what changes in boxes can be cut out")
        tensor = self.inputs.tensors[position].detach()
        baseline = self._baselines[position]
        filled = self.masks.fill_boxes(position)
        if filled and not baseline.dim():
            return baseline.expand(boxes.rows, tensor.shape[1]).contiguous()
        copy, y, x = pixels_of(boxes, tensor.device)
        image = copy % len(tensor)
        if baseline.dim():
            baseline = baseline.expand_as(tensor)[image, :, y, x]
        if filled:
            return baseline
        mask = masks()[position]
        if mask is not None:
            whole = mask.expand(-1, -1, -1, *tensor.shape[2:])
            mask = whole[copy // len(tensor), image % mask.shape[1], :, y, x]
        return _mixed(tensor[image, :, y, x], baseline, mask)


def pixels_of(boxes: Boxes, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return variant, row and column of every pixel of the boxes, without waiting for a device."""
    table = torch.from_numpy(boxes.table).to(device, non_blocking=True)
    areas = torch.from_numpy(boxes.areas).to(device, non_blocking=True)
    numbers = torch.arange(len(boxes), device=device)
    variant = torch.repeat_interleave(numbers, areas, output_size=boxes.rows)
    _, top, left, _, right, start = table[variant].unbind(1)
    within = torch.arange(boxes.rows, device=device) - start
    down = within.div(right - left, rounding_mode="floor")
    return variant, top + down, left + within - down * (right - left)


def _fitted(baseline: Baseline, tensor: Tensor) -> Tensor:
    """Return a baseline in the input's dtype; only an integer input may become floating."""
    given = torch.as_tensor(baseline)
    if tensor.is_floating_point() or not given.is_floating_point():
        return as_value(baseline, tensor)
    return given.detach().to(tensor.device)


def _mixed(tensor: Tensor, baseline: Tensor, mask: Tensor | None) -> Tensor:
    """Replace the elements of a mask; a floating mask holds the share that is replaced."""
    if mask is None:
        return tensor.clone()  # The model may write over it.
    if mask.is_floating_point():
        return torch.lerp(tensor, baseline, mask.to(tensor.dtype))
    return torch.where(mask, baseline, tensor)
