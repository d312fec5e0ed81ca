"""Elementwise Grad-CAM: the positive part of activations times gradients."""

from __future__ import annotations

from torch import Tensor

from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method


@register_method("grad_cam_elementwise")
class GradCAMElementwise(ClassActivationMap):
    """The positive part of activations times gradients: `Σ_c (g_c · A_c)⁺`, `(N, 1, h, w)`.

    As :class:`HiResCAM`, but rectified before the sum, so that channels against the class do not
    cancel those for it. From pytorch-grad-cam; without a paper.

    It is *not* the net evidence of a position: what speaks against the class there is left out.

    Arguments and errors are those of :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.GradCAMElementwise(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return (gradients * values).relu()
