"""RandomCAM: a control whose weights know nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.methods._gradient.grids import LayoutChoice
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods._perturbation.checked import checked_seed
from torchattr.methods._perturbation.random_numbers import key_of, uniform
from torchattr.methods.class_activation_map import ActivationMap
from torchattr.methods.registry import register_method


@register_method("random_cam")
class RandomCAM(ActivationMap):
    """A control: activations with random weights, `Σ_c u_c · A_c` with `u_c` uniform in [-1, 1].

    The map is `(N, 1, h, w)`. A method that does not do better than this one in a measurement has
    shown where the layer is active, and nothing of the class (the sanity checks of Adebayo et al.
    2018, arXiv:1810.03292, with random weights of channels).

    It is *not* an attribution.

    Args:
        seed: seed of the weights, 0 or more; the n-th example of a batch always has the same.

    All others, and errors, are those of :class:`ClassActivationMap`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.RandomCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 1, 6, 6])
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        seed: int = 0,
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, layer, calls=calls, layout=layout, output=output)
        self.seed = checked_seed(seed)

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        examples, channels = values.shape[:2]
        drawn = torch.from_numpy(2 * uniform(key_of(self.seed, 0), 0, examples, channels) - 1)
        weights = drawn.to(values.device, values.dtype)
        return weights.view(examples, channels, *[1] * (values.dim() - 2)) * values

    def _settings(self) -> dict[str, Any]:
        return {"seed": self.seed, **super()._settings()}
