"""Tensors and functions inside the transforms of `torch.func`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.core.torch_private import (
    TransformType,
    get_interpreter_stack,
    get_unwrapped,
    is_functorch_wrapped_tensor,
    peek_interpreter_stack,
)


def is_wrapped(tensor: Tensor) -> bool:
    """Whether a tensor is a wrapper made by a transform (`vmap`, `grad`, `jvp`, ...)."""
    return bool(is_functorch_wrapped_tensor(tensor))


def unwrapped(tensor: Tensor) -> Tensor:
    """Return the plain tensor inside all wrappers."""
    while is_wrapped(tensor):
        tensor = get_unwrapped(tensor)
    return tensor


def is_transformed() -> bool:
    """Whether a transform of `torch.func` is active."""
    return peek_interpreter_stack() is not None


def is_only_mapped() -> bool:
    """Whether all active transforms are `vmap`, which takes no gradient."""
    stack = get_interpreter_stack() or ()
    return all(transform.key() == TransformType.Vmap for transform in stack)


class VmapFunction(torch.autograd.Function):
    """Runs an elementwise function of one tensor on the whole batch of `vmap` at once."""

    @staticmethod
    def forward(function: Any, tensor: Tensor) -> Any:
        return function(tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save nothing: the function builds its own graph, below `vmap`."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, function: Any, tensor: Tensor) -> tuple[Any, int | None]:
        if is_transformed():
            return VmapFunction.apply(function, tensor), in_dims[1]
        return function(tensor), in_dims[1]
