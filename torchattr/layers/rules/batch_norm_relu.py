"""A rectifier that scales its gradient for the batch-norm before it."""

from __future__ import annotations

from torch import Tensor

from torchattr.layers.fusion import Fusion, GraphStep, register_fusion
from torchattr.layers.rules.norm import BatchNormGradient, scale_of
from torchattr.layers.rules.relu import KNOWN_GATES, gate_of


@register_fusion("batch_norm_relu")
class BatchNormReLU(Fusion):
    """Gate and scale in one pass over the gradient."""

    def fits(self, above: GraphStep, below: GraphStep) -> bool:
        return (
            below.consists_of(BatchNormGradient)
            and above.call.operation.name == "relu"
            and not above.is_done_above
            and above.consists_of(*KNOWN_GATES)
        )

    def backward(
        self, above: GraphStep, below: GraphStep, table: int, grad: Tensor, *saved: Tensor
    ) -> Tensor:
        call, mask = above.call, saved[0] if saved else None
        gate, scale = gate_of(above.rules[table]), scale_of(below.call)
        return call.backend.batch_norm_relu_backward(
            grad, mask, scale, call.order, gate, call.owns_grad
        )
