"""Pictures of which it is known where each explained object is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from torch import Tensor, nn

from torchattr.core.outputs import activated_by
from torchattr.core.types import Activation
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.ground_truth.asked_pictures import AskedPictures
from torchattr.evaluate.measured_maps import as_masks

BoxOrBoxes: TypeAlias = (
    "tuple[float, float, float, float] | list[tuple[float, float, float, float]]"
)


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """Pictures, the class to explain in each, and where its object is.

    Args:
        model: the network, in evaluation mode.
        inputs: `(N, C, h, w)`.
        targets: the class of the object in each, `(N,)`.
        masks: the pixels of that object, bools `(N, h, w)`; neither none nor all.
        boxes: left, top, right and bottom of it, right and bottom exclusive, or several such boxes
            in a list; by default those around the masks.
        activation: what turns the network's scores into probabilities.
        each: how many rows, one after another, are classes of the same picture, so that they are
            explained from one forward.

    Raises:
        InputTypeError: something else than tensors.
        ShapeError: tensors that do not fit each other, or no pictures.
        InputError: a mask of nothing or everything, an unknown activation, or rows that are not
            a multiple of `each`.

    >>> import torch
    >>> masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    >>> masks[:, 2:5, 1:4] = True
    >>> inputs, targets = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    >>> LabelledPictures(torch.nn.Identity(), inputs, targets, masks).boxes
    [(1, 2, 4, 5), (1, 2, 4, 5)]
    """

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    masks: Tensor
    boxes: Sequence[BoxOrBoxes] = ()
    activation: Activation = "softmax"
    each: int = 1

    def __post_init__(self) -> None:
        for name in ("inputs", "targets", "masks"):
            value = getattr(self, name)
            if not isinstance(value, Tensor):
                raise InputTypeError(f"{name} must be a tensor, got {type(value).__name__}")
        if self.inputs.dim() != 4 or not self.inputs.numel():
            raise ShapeError(
                f"inputs must be pictures (N, C, h, w) of at least one value, got"
                f" the shape {tuple(self.inputs.shape)}"
            )
        if self.targets.shape != self.inputs.shape[:1] or self.targets.is_floating_point():
            raise ShapeError(
                f"targets must be one class for each of {len(self)} pictures, got"
                f" {self.targets.dtype} of the shape {tuple(self.targets.shape)}"
            )
        activated_by(self.activation)
        object.__setattr__(self, "masks", as_masks(self.masks, self.inputs[:, 0]))
        object.__setattr__(self, "boxes", self.boxes or [_box(mask) for mask in self.masks])
        if len(self.boxes) != len(self):
            raise InputError(f"boxes must be one for each picture, got {len(self.boxes)}")
        if self.each < 1 or len(self) % self.each:
            raise InputError(
                f"each must divide the number of rows, which is {len(self)}, got {self.each}"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def asked(self) -> AskedPictures:
        """What methods are told of them."""
        targets = self.targets if self.each == 1 else self.targets.unflatten(0, (-1, self.each))
        return AskedPictures(self.model, self.inputs[:: self.each], targets, self.activation)

    def __getitem__(self, rows: slice) -> LabelledPictures:
        """Return some of the rows, for each picture all or none."""
        return replace(
            self,
            inputs=self.inputs[rows],
            targets=self.targets[rows],
            masks=self.masks[rows],
            boxes=self.boxes[rows],
        )


def _box(mask: Tensor) -> tuple[int, int, int, int]:
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return int(columns[0]), top, int(columns[-1]) + 1, bottom
