"""CAM: a layer's activations, weighted by the head's own weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchattr.core.rounding import unit
from torchattr.errors import Hint, LayerError, WayOut
from torchattr.layers import modules_behind
from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import register_method


@register_method("cam")
class CAM(ClassActivationMap):
    """The layer's activations, weighted by the class' weights in the head: `Σ_c w_c · A_c`.

    For a network that ends in a global average pool and a linear head, whose mean over the
    positions is then the score without its bias; the map is `(N, 1, h, w)`. Zhou et al. 2016,
    arXiv:1512.04150.

    It is *not* defined for other networks: :class:`GradCAM`, which equals it up to a factor where
    it is, is for those. The weights are read from the gradient, which is the same at all positions
    behind such a pool, and looked up in the model's parameters; a model that is a function of
    unknown parameters is believed.

    Arguments and errors are those of :class:`ClassActivationMap`.

    Raises:
        LayerError: what follows the layer is no global average pool, or no linear head whose
            weights are the target's.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
    ...     torch.nn.Linear(4, 2),
    ... )
    >>> ta.CAM(model, layer="0").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    @property
    def combines_at_once(self) -> bool:
        # Whether it is the right network is read from the values.
        return False

    def weigh(self, values: Tensor, gradients: Tensor) -> Tensor:
        spatial = tuple(range(2, gradients.dim()))
        weights = gradients.sum(spatial, keepdim=True) if spatial else gradients
        even = weights / gradients.shape[2:].numel()
        if not _alike(gradients, even):
            raise _refusal("the gradient differs between its positions")
        heads = list(_heads(self.model, values.shape[1]))
        rows = weights.flatten(1)
        if len(modules_behind(self.model)) and not any(_has_rows(head, rows) for head in heads):
            raise _refusal("no linear head of the model has the target's weights")
        return weights * values


def _refusal(because: str) -> LayerError:
    return LayerError(
        f"CAM needs a global average pool and a linear head right behind the layer, but {because}",
        hint=Hint(
            ways_out=[
                WayOut("choose the layer before the pool"),
                WayOut("GradCAM and HiResCAM work for any network"),
            ]
        ),
    )


_ROUNDINGS = 2**12
"""How many units of rounding weights may differ by: sums over the positions of a large grid."""


def _alike(found: Tensor, expected: Tensor) -> bool:
    """Whether gradients are what they should be, up to rounding."""
    allowed = _ROUNDINGS * unit(found) * expected.abs().amax(1, keepdim=True)
    return bool(((found - expected).abs() <= allowed).all())


def _has_rows(head: Tensor, rows: Tensor) -> bool:
    """Whether each row is one of a head's, up to rounding."""
    allowed = _ROUNDINGS * unit(rows) * rows.abs().amax(1)
    distances = torch.cdist(rows, head.to(rows), p=float("inf"))
    return bool((distances.amin(1) <= allowed).all())


def _heads(model: Any, channels: int) -> Iterator[Tensor]:
    """Yield the weights of what may be a linear layer from this many channels."""
    for module in modules_behind(model):
        for parameter in module.parameters():
            shape = parameter.shape
            if len(shape) >= 2 and shape[1] == channels and shape[1:].numel() == channels:
                yield parameter.detach().flatten(1)
