"""A model whose first layer absorbs a shift of the input, so that it computes the same."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from torchattr.core.gradient_mode import gradients
from torchattr.core.rounding import unit
from torchattr.core.select import layer_names
from torchattr.errors import InputTypeError, ModelError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
FIRST_LAYERS = (*CONVOLUTIONS, nn.Linear)


class AbsorbedShift(nn.Module):
    """A layer that computes of `x + shift` what it used to compute of `x`: `L(x) − (L(m) − L(0))`.

    The bias of a padded convolution depends on the position: padding adds zeros, not the shift.

    Args:
        layer: the layer.
        moved: `L(m) − L(0)`.
    """

    def __init__(self, layer: nn.Module, moved: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("moved", moved, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        moved: Any = self.moved
        found: Tensor = self.layer(x) - moved
        return found


class PaddedBy(nn.Module):
    """A convolution whose padding has the value of the shift, so that its bias absorbs that.

    Args:
        layer: the convolution, without padding of its own.
        sides: the padding of each side, as for `torch.nn.functional.pad`.
        value: the shift.
    """

    def __init__(self, layer: nn.Module, sides: Sequence[int], value: float) -> None:
        super().__init__()
        self.layer, self.sides, self.value = layer, list(sides), value

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(pad(x, self.sides, value=self.value))
        return found


def absorbing(layer: nn.Module, shift: Tensor) -> nn.Module:
    """Return a layer that absorbs a shift of its input; it may be the given one, changed.

    Args:
        layer: a convolution or linear layer, whose bias may be replaced.
        shift: like one example of the layer's input, with the batch dimension of 1.
    """
    moved = _moved(layer, shift)
    if _take(layer, moved):
        return layer
    value = float(shift.flatten()[0])
    if isinstance(layer, CONVOLUTIONS) and layer.padding_mode == "zeros":
        sides = _sides(layer)
        inner = deepcopy(layer, {id(one): one for one in layer.parameters()})
        inner.padding = tuple(0 for _ in layer.kernel_size)
        everywhere = _moved(inner, pad(shift, sides, value=value))
        if bool((shift == value).all()) and _take(inner, everywhere):
            return PaddedBy(inner, sides, value)
    return AbsorbedShift(layer, moved)


def _moved(layer: nn.Module, shift: Tensor) -> Tensor:
    with gradients(False):
        moved: Tensor = layer(shift) - layer(torch.zeros_like(shift))
    return moved


def _take(layer: Any, moved: Tensor) -> bool:
    """Take off from a layer's bias what is the same at all positions; whether it is."""
    channels = moved.movedim(1, -1) if isinstance(layer, CONVOLUTIONS) else moved
    rows = channels.reshape(-1, channels.shape[-1])
    same = rows.mean(0)
    if float((rows - same).abs().max()) > 64 * unit(moved) * float(same.abs().max()):
        return False
    bias = -same if layer.bias is None else layer.bias.detach() - same
    layer.bias = nn.Parameter(bias, requires_grad=layer.weight.requires_grad)
    return True


def _sides(layer: Any) -> list[int]:
    """Return the padding of a convolution, from the last dimension's begin on."""
    sides: list[int] = []
    for extent, dilation, own in zip(
        layer.kernel_size, layer.dilation, _padding(layer), strict=True
    ):
        whole = dilation * (extent - 1) if own == "same" else 2 * own
        sides = [whole // 2, whole - whole // 2, *sides]
    return sides


def _padding(layer: Any) -> Sequence[Any]:
    if isinstance(layer.padding, str):
        return ["same" if layer.padding == "same" else 0] * len(layer.kernel_size)
    padding: Sequence[Any] = layer.padding
    return padding


def shifted_copy(model: Any, shift: Tensor, beside: Any = None) -> tuple[nn.Module, Any]:
    """Return a copy of a model that absorbs a shift, and a copy of what refers to its modules.

    The parameters' memory is shared, and the user's model stays as it is.

    Args:
        model: a module whose first layer is a convolution or a linear layer.
        shift: what is added to each example of the input, `(1, ...)`.
        beside: an object that refers to the model or its layers.

    Raises:
        InputTypeError: the model is no module.
        ModelError: it has no such layer, or cannot be copied.
    """
    if not isinstance(model, nn.Module):
        raise InputTypeError(
            "the model must be an nn.Module, whose first layer can absorb a shift, got"
            f" {type(model).__name__}; pass the shifted model with shifted=..."
        )
    memo: dict[int, Any] = {id(one): one for one in (*model.parameters(), *model.buffers())}
    try:
        copied, other = deepcopy((model, beside), memo)
    except (TypeError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"the model cannot be copied, and a copy is what absorbs the shift: {error}; pass the"
            " shifted model with shifted=..."
        ) from error
    name = _first(copied)
    parent = copied.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], absorbing(copied.get_submodule(name), shift))
    return copied, other


def _first(model: nn.Module) -> str:
    """Return the name of the first convolution or linear layer, in the order of registration."""
    found = [name for name, one in layer_names(model).items() if isinstance(one, FIRST_LAYERS)]
    if not found:
        raise ModelError(
            "the model has no convolution or linear layer that could absorb a shift of the input;"
            " pass the shifted model with shifted=..."
        )
    return found[0]
