"""The gates of a ReLU's backward: what each reads and where it clamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from torchattr.kernels.layout import Order, order_of

Gate = Literal["gradient", "guided", "deconvolution"]


def reads_mask(gate: Gate) -> bool:
    """Whether a gate closes where the ReLU's input was not positive."""
    return gate != "deconvolution"


def clamps(gate: Gate) -> bool:
    """Whether a gate closes where the gradient is negative."""
    return gate != "gradient"


@dataclass(frozen=True)
class Gating:
    """A gate as kernels apply it to one gradient.

    Attributes:
        mask: the packed mask, if the gate reads one.
        order: the memory order in which the gradient is read.
        clamps: whether negative gradients become zero.
    """

    mask: Tensor | None
    order: Order
    clamps: bool

    @classmethod
    def of(cls, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate) -> Gating:
        """Return the gating of a gradient; without a mask it is read in its own memory order."""
        if mask is None or not reads_mask(gate):
            return cls(None, order_of(grad), clamps=True)
        return cls(mask, order, clamps(gate))
