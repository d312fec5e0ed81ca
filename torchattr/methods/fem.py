"""FEM: a layer's activations, weighted by how often they are exceptionally strong."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchattr.core.rounding import in_single
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.errors import InputError
from torchattr.methods._cam.positions import over_positions
from torchattr.methods._gradient.grids import LayoutChoice
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods.class_activation_map import ActivationMap
from torchattr.methods.registry import register_method


@register_method("fem")
class FEM(ActivationMap):
    """Activations weighted by how often they are strong: `Σ_c A_c · mean_p [A_cp > μ_c + k σ_c]`.

    `μ_c` and `σ_c` are the mean and standard deviation of a channel over the positions; the map is
    `(N, 1, h, w)`. Fuad et al. 2020 (hal-02963298).

    It is *not* an explanation of a class: it reads no target and no gradient.

    Args:
        k: how many standard deviations above the mean count as strong.

    All others, and errors, are those of :class:`ClassActivationMap`.

    Raises:
        InputError: a negative `k`.
        LayerError: a layer of fewer than two positions.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.FEM(model, layer="1").attribute(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 1, 6, 6])
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        k: float = 2.0,
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, layer, calls=calls, layout=layout, output=output)
        if not 0 <= k < float("inf"):
            raise InputError(f"k must be finite and not negative, got {k}")
        self.k = k

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        # The squares of strong values overflow in half precision.
        flat = over_positions(in_single(values))
        mean = flat.mean(2, keepdim=True)
        # Not by `std`, which warns of an empty batch.
        deviation = (flat - mean).square().mean(2, keepdim=True).sqrt()
        strong = (flat > mean + self.k * deviation).to(flat.dtype).mean(2).to(values.dtype)
        return strong.view(*strong.shape, *[1] * (values.dim() - 2)) * values

    def _settings(self) -> dict[str, Any]:
        return {"k": self.k, **super()._settings()}
