"""The engine of the black-box methods: replace features, run the model, compare."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchattr.inputs import Inputs
from torchattr.kernels.patches import Boxes
from torchattr.methods.features import Masks, SomeImages, boxes_of

Baseline = Tensor | int | float


class Perturbation:
    """Measures the target's value when parts of the inputs are replaced.

    Args:
        inputs: the batch.
        baselines: what replaces them, for each input a number or a tensor that broadcasts to it.
        masks: what is replaced in each copy.
    """

    def __init__(self, inputs: Inputs, baselines: Sequence[Baseline], masks: Masks) -> None:
        self.inputs = inputs
        self._baselines = [
            _fitted(baseline, tensor)
            for baseline, tensor in zip(baselines, inputs.tensors, strict=True)
        ]
        self.masks = masks

    def perturbed(self, start: int, stop: int) -> list[Tensor]:
        """Give copies of the inputs, each with what one of the masks says replaced.

        Returns:
            for each input `((stop - start) · N, ...)`, copy after copy.
        """
        return self._replaced(self.masks.masks(start, stop), stop - start)

    def copies(self, start: int, stop: int) -> tuple[list[Tensor], list[Boxes | None]]:
        """Give :meth:`perturbed` copies, and :meth:`boxes`."""
        masks = self.masks.masks(start, stop)
        return self._replaced(masks, stop - start), self._boxes(masks, stop - start)

    def boxes(self, start: int, stop: int) -> list[Boxes | None]:
        """Say for each input where in its pictures each copy is perturbed; `None` for nowhere.

        Only inputs `(N, C, H, W)` have boxes.
        """
        return self._boxes(self.masks.masks(start, stop), stop - start)

    def of_images(self, images: slice) -> Perturbation:
        """Give the same for some of the images."""
        tensors = tuple(tensor[images] for tensor in self.inputs.tensors)
        baselines = [
            one[images] if one.dim() == tensor.dim() and len(one) > 1 else one
            for one, tensor in zip(self._baselines, self.inputs.tensors, strict=True)
        ]
        masks = SomeImages(self.masks, images)
        return Perturbation(Inputs(tensors, self.inputs.is_tuple), baselines, masks)

    def _replaced(self, masks: Sequence[Tensor | None], copies: int) -> list[Tensor]:
        return [
            _replaced(tensor, baseline, mask, copies)
            for tensor, baseline, mask in zip(
                self.inputs.tensors, self._baselines, masks, strict=True
            )
        ]

    def _boxes(self, masks: Sequence[Tensor | None], copies: int) -> list[Boxes | None]:
        return [
            boxes_of(mask, tensor.shape, copies)
            for mask, tensor in zip(masks, self.inputs.tensors, strict=True)
        ]


def _fitted(baseline: Baseline, tensor: Tensor) -> Tensor:
    """Give a baseline of the input's own type; only an integer input may become floating."""
    value = torch.as_tensor(baseline, device=tensor.device)
    if tensor.is_floating_point() or not value.is_floating_point():
        return value.detach().to(tensor.dtype)
    return value.detach()


def _replaced(tensor: Tensor, baseline: Tensor, mask: Tensor | None, copies: int) -> Tensor:
    copied = tensor.detach().expand(copies, *tensor.shape)
    if mask is None:
        changed = copied
    elif mask.is_floating_point():
        changed = torch.lerp(copied, baseline, mask.to(tensor.dtype))
    else:
        changed = torch.where(mask, baseline, copied)
    return changed.reshape(copies * len(tensor), *tensor.shape[1:])
