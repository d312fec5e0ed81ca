"""Grad-CAM++: a layer's activations, weighted by their positive gradients and coefficients."""

from __future__ import annotations

from torch import Tensor

from torchattr.methods._cam.second_order import second_order_weights
from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method


@register_method("grad_cam_plus_plus")
class GradCAMPlusPlus(ClassActivationMap):
    """Activations weighted by coefficients of positive gradients: `Σ_c A_c · Σ_p α_cp · (g_cp)⁺`.

    `α = g² / (2 g² + g³ · Σ_p A)`, so `1 / (2 + g · Σ_p A)` where `g` is not 0; the map is
    `(N, 1, h, w)`. Chattopadhay et al. 2018, arXiv:1710.11063 (whose maps are rectified:
    `relu_attributions=True`).

    It is *not* a share of the score: weights are never negative, so evidence against the class is
    not seen, and a score in other units has a map of another shape. Where the denominator is 0, as
    negative activations can make it, `α` is 0.

    Arguments and errors are those of :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.GradCAMPlusPlus(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return second_order_weights(values, gradients, gradients) * values
