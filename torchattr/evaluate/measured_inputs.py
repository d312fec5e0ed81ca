"""Inputs of what measures maps: at least one example."""

from __future__ import annotations

from torchattr.core.inputs import Inputs, as_inputs
from torchattr.core.types import Tensors
from torchattr.errors import ShapeError


def measured_inputs(inputs: Tensors) -> Inputs:
    """Check inputs as :func:`torchattr.core.inputs.as_inputs` does, and that there are examples.

    Raises:
        ShapeError: no examples, or what is refused there.
        InputTypeError, InputError: as there.

    >>> import torch
    >>> measured_inputs(torch.ones(2, 3)).batch_size
    2
    """
    given = as_inputs(inputs, differentiable=False)
    if not given.batch_size:
        raise ShapeError("inputs has no examples, so there is nothing to measure")
    return given
