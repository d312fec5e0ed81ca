"""EigenGrad-CAM: the first principal component of activations times gradients."""

from __future__ import annotations

from torch import Tensor

from torchattr.methods._cam.principal import first_component
from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method


@register_method("eigen_grad_cam")
class EigenGradCAM(ClassActivationMap):
    """The first principal component of activations times gradients, `g ⊙ A`: `(N, 1, h, w)`.

    As :class:`EigenCAM` (Muhammad and Yeasin 2020, arXiv:2008.00299), of what :class:`HiResCAM`
    sums, and turned so that it does not decrease with that sum. From pytorch-grad-cam.

    It is centred over the positions, so it is *not* positive exactly where evidence is for the
    class, and its sum is 0.

    Arguments and errors are those of :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.EigenGradCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return gradients * values

    def project(self, weighted: Tensor) -> Tensor:
        return first_component(weighted, weighted.sum(1, keepdim=True))
