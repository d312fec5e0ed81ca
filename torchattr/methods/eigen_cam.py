"""EigenCAM: the first principal component of a layer's activations."""

from __future__ import annotations

from torch import Tensor

from torchattr.methods._cam.principal import first_component, magnitude
from torchattr.methods.class_activation_map import ActivationMap
from torchattr.methods.registry import register_method


@register_method("eigen_cam")
class EigenCAM(ActivationMap):
    """The first principal component of the layer's activations: `X v₁`, `(N, 1, h, w)`.

    `X` holds the activations of one example, `(positions, C)`, centred for each channel, and `v₁`
    its first right singular vector. A component has no sign: this one is turned so that it does not
    decrease with the sum of all activations' magnitudes. Muhammad and Yeasin 2020,
    arXiv:2008.00299.

    It is *not* an explanation of a class: it reads no target and no gradient, and is the same for
    all classes. What the layer varies with most need not matter to the score.

    Arguments and errors are those of :class:`ClassActivationMap`. The model may return anything.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.EigenCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 1, 6, 6])
    """

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return values

    def project(self, weighted: Tensor) -> Tensor:
        return first_component(weighted, magnitude(weighted))
