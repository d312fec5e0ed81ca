"""Pictures, a network for them, and the class to explain in each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from torchattr.core.types import Activation


@dataclass(frozen=True, eq=False)
class AskedPictures:
    """What methods are asked to explain.

    Attributes:
        model: the network, in evaluation mode.
        inputs: `(N, C, h, w)`.
        targets: the class to explain in each, `(N,)`, or several in each, `(N, T)`.
        activation: what turns the network's scores into probabilities.
    """

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    activation: Activation = "softmax"

    @property
    def each(self) -> int:
        """The number of classes that are explained in each picture."""
        return self.targets[:1].numel()

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, rows: slice) -> AskedPictures:
        """Return some of the pictures."""
        return replace(self, inputs=self.inputs[rows], targets=self.targets[rows])
