"""The weights that quantised modules keep away from their parameters."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from torchattr.core.pytree import tree_leaves

_GIVING = ("weight", "bias", "get_weight", "get_bias")


def packed(module: nn.Module) -> list[Tensor]:
    """Return the weights and biases that a module of `torch.ao` gives by a method, without parts.

    >>> packed(nn.Linear(2, 3))
    []
    """
    if not type(module).__module__.startswith("torch.ao.nn."):
        return []
    giving: list[Any] = [getattr(module, name, None) for name in _GIVING]
    given = [one() for one in giving if callable(one)]
    tensors = {id(one): one for one in tree_leaves(given) if isinstance(one, Tensor)}
    own = {id(parameter) for parameter in module.parameters()}
    return [tensor for known, tensor in tensors.items() if known not in own]


def weights_of(model: nn.Module) -> list[Tensor]:
    """Return all parameters of a model, each once, and what its quantised parts keep packed."""
    return [*model.parameters(), *(one for part in model.modules() for one in packed(part))]
