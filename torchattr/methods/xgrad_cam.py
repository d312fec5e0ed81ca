"""XGrad-CAM: a layer's activations, weighted by their gradients where they are active."""

from __future__ import annotations

from torch import Tensor

from torchattr.core.rounding import settled_sum
from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method


@register_method("xgrad_cam")
class XGradCAM(ClassActivationMap):
    """Activations weighted by their gradient at active positions: `Σ_c A_c · (Σ_p g A) / (Σ_p A)`.

    The map is `(N, 1, h, w)`. Its sum is that of gradient times activation, which for a network of
    ReLUs without biases behind the layer is the score. Fu et al. 2020, arXiv:2008.02312 (whose maps
    are rectified: `relu_attributions=True`).

    Only its sum is that of :class:`HiResCAM`: it is *not* the contribution of a position. A channel
    whose activations sum to 0, up to rounding, has the weight 0; negative activations can make that
    sum small, and the weight large, without a reason in the model.

    Arguments and errors are those of :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.XGradCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        spatial = tuple(range(2, values.dim()))
        if not spatial:
            return gradients * values
        totals = settled_sum(values, spatial)
        product = settled_sum(gradients * values, spatial)
        return product / totals.where(totals != 0, 1) * (totals != 0) * values
