"""A rectifier that scales its gradient for the batch-norm before it."""

from __future__ import annotations

from torch import Tensor

from torchattr.layers.fusion import FusedPair, NodeState, register_fused_pair
from torchattr.layers.rules.norm import BatchNormGradient, scale_of
from torchattr.layers.rules.relu import KNOWN_GATES, gate_of


@register_fused_pair("batch_norm_relu")
class BatchNormReLU(FusedPair):
    """Gate and scale in one pass over the gradient."""

    def fits(self, above: NodeState, below: NodeState) -> bool:
        return (
            above.call.operation.name == "relu"
            and below.consists_of(BatchNormGradient)
            and not above.is_done_above
            and above.consists_of(*KNOWN_GATES)
        )

    def backward(
        self, above: NodeState, below: NodeState, table: int, grad: Tensor, *saved: Tensor
    ) -> Tensor:
        call, mask = above.call, saved[0] if saved else None
        gate, scale = gate_of(above.rules[table]), scale_of(below.call)
        return call.backend.batch_norm_relu_backward(
            grad, mask, scale, call.order, gate, call.owns_grad
        )
