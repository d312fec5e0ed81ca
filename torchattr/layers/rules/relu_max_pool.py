"""A max-pool that gates for the rectifier before it: its switches hold whether that is open."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from torchattr.layers.fusion import FusedPair, NodeState, register_fused_pair
from torchattr.layers.rules.pool import MaxPoolGradient, window_of
from torchattr.layers.rules.relu import KNOWN_GATES, gate_of


@register_fused_pair("relu_max_pool")
class ReLUMaxPool(FusedPair):
    """The switches hold whether each maximum is positive, so the rectifier's mask can be freed."""

    forgets_below: ClassVar[bool] = True

    def fits(self, above: NodeState, below: NodeState) -> bool:
        return (
            above.consists_of(MaxPoolGradient)
            and window_of(above.call).tells_open
            and below.call.operation.name == "relu"
            and below.call.upper is None
            and below.consists_of(*KNOWN_GATES)
        )

    def backward(
        self, above: NodeState, below: NodeState, table: int, grad: Tensor, *saved: Tensor
    ) -> Tensor:
        call, gate = above.call, gate_of(below.rules[table])
        return call.backend.unpool_gated(grad, saved[0], call.shape, window_of(call), gate)
