"""Grad-CAM: a layer's activations, weighted by their mean gradients."""

from __future__ import annotations

from torch import Tensor

from torchattr.core.rounding import settled_mean
from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method


@register_method("grad_cam")
class GradCAM(ClassActivationMap):
    """The layer's activations, each channel weighted by its mean gradient: `Σ_c ḡ_c · A_c`.

    The result has the layer's own resolution, `(N, 1, h, w)`. Several layers give a dict by name,
    all from one forward. Selvaraju et al. 2017, arXiv:1610.02391 (whose maps are rectified:
    `relu_attributions=True`).

    A map shows *where* the layer holds evidence, at its own, coarse resolution; it is *not* a pixel
    attribution, and enlarging it does not make it one. A map that is zero everywhere after
    rectification means that the evidence is against the class: it stays zero. So do weights and
    positions whose terms cancel up to the rounding error of their dtype.

    Arguments and errors are those of :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.GradCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return mean_gradients(gradients) * values


def mean_gradients(gradients: Tensor) -> Tensor:
    """Return the mean gradient of each channel, `(N, C, 1, ...)`."""
    spatial = tuple(range(2, gradients.dim()))
    return settled_mean(gradients, spatial) if spatial else gradients
