"""HiResCAM: a layer's activations times their gradients, position by position."""

from __future__ import annotations

from torch import Tensor

from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method


@register_method("hires_cam")
class HiResCAM(ClassActivationMap):
    """The layer's activations times their gradients: `Σ_c g_c · A_c`, `(N, 1, h, w)`.

    Where only linear layers follow, the map sums to the score without biases. Draelos and Carin
    2020, arXiv:2011.08891.

    It is *not* smooth as Grad-CAM's, whose mean over positions moves evidence to where there is
    none; behind other layers than linear ones its sum is not the score.

    Arguments and errors are those of :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.HiResCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return gradients * values
