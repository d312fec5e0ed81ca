"""A model whose first layer absorbs a shift of the input, so that it computes the same."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from torchattr.core.gradient_mode import gradients
from torchattr.core.select import layer_names
from torchattr.errors import InputTypeError, ModelError

FIRST_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class AbsorbedShift(nn.Module):
    """A convolution or linear layer that computes of `x + shift` what it used to compute of `x`.

    `L(x + m) − (L(m) − L(0))`. Without padding that is a change of the bias. Padding adds zeros,
    not the shift, so that at the border the bias depends on the position.

    Args:
        layer: the layer.
        shift: `m`, like one example of the layer's input, with the batch dimension of 1.
    """

    def __init__(self, layer: nn.Module, shift: Tensor) -> None:
        super().__init__()
        self.layer = layer
        with gradients(False):
            moved: Tensor = self.layer(shift) - self.layer(torch.zeros_like(shift))
        self.register_buffer("moved", moved, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        moved: Any = self.moved
        found: Tensor = self.layer(x) - moved
        return found


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
    setattr(parent, name.rpartition(".")[2], AbsorbedShift(copied.get_submodule(name), shift))
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
