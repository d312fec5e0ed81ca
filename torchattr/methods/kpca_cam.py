"""KPCA-CAM: the first kernel principal component of a layer's activations."""

from __future__ import annotations

from typing import Any, get_args

from torch import Tensor

from torchattr.core.arguments import check_choice
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.errors import InputError
from torchattr.methods._cam.principal import Kernel, first_kernel_component, magnitude
from torchattr.methods._gradient.grids import LayoutChoice
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods.class_activation_map import ActivationMap
from torchattr.methods.registry import register_method


@register_method("kpca_cam")
class KPCACAM(ActivationMap):
    """The first kernel principal component of the layer's activations, `√λ₁ u₁`: `(N, 1, h, w)`.

    `u₁` is the first eigenvector of the centred matrix of `k(x_p, x_q)` between the centred
    activations of all positions, `tanh(γ x_p·x_q + 1)` by default. It is turned as for
    :class:`EigenCAM`. Karmani et al. 2024, arXiv:2410.00267.

    It is *not* an explanation of a class, as :class:`EigenCAM` is none.

    Args:
        kernel: `"sigmoid"`, `"rbf"` (`exp(-γ ‖x_p − x_q‖²)`), `"linear"` or `"cosine"`.
        gamma: `γ`; by default one divided by the number of channels.

    All others, and errors, are those of :class:`ClassActivationMap`.

    Raises:
        InputError: an unknown kernel, or a `gamma` that is not positive.
        LayerError: a layer of fewer than two positions, or of more than 8192, which are compared
            with each other.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.KPCACAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 1, 6, 6])
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        kernel: Kernel = "sigmoid",
        gamma: float | None = None,
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, layer, calls=calls, layout=layout, output=output)
        check_choice("kernel", kernel, get_args(Kernel))
        if gamma is not None and not 0 < gamma < float("inf"):
            raise InputError(f"gamma must be positive, got {gamma}; leave it out for 1 / channels")
        self.kernel: Kernel = kernel
        self.gamma = gamma

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        return values

    def project(self, weighted: Tensor) -> Tensor:
        return first_kernel_component(weighted, magnitude(weighted), self.kernel, self.gamma)

    def _settings(self) -> dict[str, Any]:
        kernel = {"kernel": self.kernel, "gamma": self.gamma}
        return {**kernel, **super()._settings()}
