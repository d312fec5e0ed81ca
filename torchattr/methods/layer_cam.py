"""LayerCAM: a layer's activations times their positive gradients."""

from __future__ import annotations

from torch import Tensor

from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method


@register_method("layer_cam")
class LayerCAM(ClassActivationMap):
    """The layer's activations times their positive gradients: `Σ_c (g_c)⁺ · A_c`, `(N, 1, h, w)`.

    Each position has a weight of its own, so that shallow layers have maps of fine detail: pass
    several and `fuse="max"`. Jiang et al. 2021, doi:10.1109/TIP.2021.3089943 (whose maps are
    rectified: `relu_attributions=True`, and scaled by `tanh` in shallow layers, which is left to
    the caller).

    It is *not* the net evidence of a position: negative gradients are left out.

    Arguments and errors are those of :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.LayerCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return gradients.relu() * values
