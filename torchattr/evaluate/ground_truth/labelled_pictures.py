"""Pictures of which it is known where each explained object is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from torchattr.core.types import Activation


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """Pictures, the class to explain in each, and where its object is.

    Attributes:
        model: the network, in evaluation mode.
        inputs: `(N, C, h, w)`.
        targets: the class of the object in each, `(N,)`.
        masks: the pixels of that object, bools `(N, h, w)`.
        boxes: left, top, right and bottom of it, right and bottom exclusive.
        activation: what turns the network's scores into probabilities.
    """

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    masks: Tensor
    boxes: Sequence[tuple[int, int, int, int]]
    activation: Activation

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, rows: slice) -> LabelledPictures:
        """Return some of the pictures."""
        return replace(
            self,
            inputs=self.inputs[rows],
            targets=self.targets[rows],
            masks=self.masks[rows],
            boxes=self.boxes[rows],
        )
