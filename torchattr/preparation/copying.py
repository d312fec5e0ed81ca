"""Copy a model without copying its parameters' memory."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from torchattr.core.pytree import tensors_of
from torchattr.errors import ModelError


def shared_copy(model: nn.Module) -> nn.Module:
    """Return a copy whose parameters and buffers are new tensors over the same memory.

    Moving the copy or replacing its forwards does not affect the model, and no memory is used
    twice.

    Raises:
        ModelError: a module that cannot be copied.

    >>> layer = nn.Linear(2, 3)
    >>> other = shared_copy(layer)
    >>> other.weight is layer.weight, other.weight.data_ptr() == layer.weight.data_ptr()
    (False, True)
    """
    memo: dict[int, Any] = {id(tensor): _alias(tensor) for tensor in _tensors(model)}
    # Another thread may register hooks meanwhile, so they are read in one step, not iterated.
    hooks = [held for held in _held(model) if type(held) is OrderedDict]
    memo.update((id(held), OrderedDict()) for held in hooks)
    try:
        copied = copy.deepcopy(model, memo)
        for held in hooks:
            memo[id(held)].update(copy.deepcopy(list(held.items()), memo))
        return copied
    except (TypeError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"the model cannot be copied, and prepare works on a copy: {error}; define __deepcopy__"
            " on the module at fault, or use the model as it is"
        ) from error


def _alias(tensor: Tensor) -> Tensor:
    if not isinstance(tensor, nn.Parameter):
        return tensor.detach()
    if type(tensor) in (Tensor, nn.Parameter) or not issubclass(type(tensor), nn.Parameter):
        return nn.Parameter(tensor.detach(), tensor.requires_grad)
    alias = Tensor._make_subclass(type(tensor), tensor.detach(), tensor.requires_grad)
    vars(alias).update(vars(tensor))
    return alias


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
    # Weights that a hook recomputes before each forward are plain attributes.
    yield from (held for held in _held(model) if isinstance(held, Tensor))
    # So is what a forward keeps for later ones, such as a table of its weights, with its graph.
    kept = [held for held in _held(model) if isinstance(held, (dict, list, tuple))]
    yield from (tensor for tensor in tensors_of(kept) if tensor.grad_fn is not None)


def _held(model: nn.Module) -> Iterator[Any]:
    """Yield the attributes of all modules."""
    for module in model.modules():
        yield from vars(module).values()


def state(model: nn.Module) -> list[Tensor]:
    """Return all parameters and buffers."""
    return [*model.parameters(), *model.buffers()]


def storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Return the size in bytes of each storage behind some tensors, by its address."""
    held = [tensor.untyped_storage() for tensor in tensors if not tensor.is_meta]
    return {storage.data_ptr(): storage.nbytes() for storage in held}
