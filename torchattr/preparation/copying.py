"""A copy of a model that holds the same numbers in the same memory."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from torchattr.errors import ModelError


def shared_copy(model: nn.Module) -> nn.Module:
    """Give a copy whose parameters and buffers are other objects over the same memory.

    So what is done to the copy (moving it, giving it other forwards) does not reach the model,
    and its memory is not spent twice.

    Raises:
        ModelError: a part that cannot be copied.

    >>> layer = nn.Linear(2, 3)
    >>> other = shared_copy(layer)
    >>> other.weight is layer.weight, other.weight.data_ptr() == layer.weight.data_ptr()
    (False, True)
    """
    memo: dict[int, Any] = {id(tensor): _alias(tensor) for tensor in _tensors(model)}
    # Another thread may hook the model meanwhile, so those are read at once, not walked.
    hooks = [held for held in _held(model) if type(held) is OrderedDict]
    memo.update((id(held), OrderedDict()) for held in hooks)
    try:
        copied = copy.deepcopy(model, memo)
        for held in hooks:
            memo[id(held)].update(copy.deepcopy(list(held.items()), memo))
        return copied
    except (TypeError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"the model cannot be copied, and prepare works on a copy: {error}; give the part that"
            " is to blame a __deepcopy__, or use the model as it is"
        ) from error


def _alias(tensor: Tensor) -> Tensor:
    if not isinstance(tensor, nn.Parameter):
        return tensor.detach()
    if type(tensor) in (Tensor, nn.Parameter) or not issubclass(type(tensor), nn.Parameter):
        return nn.Parameter(tensor.detach(), tensor.requires_grad)
    alias = Tensor._make_subclass(type(tensor), tensor.detach(), tensor.requires_grad)
    alias.__dict__.update(vars(tensor))
    return alias


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
    # Weights that a hook makes anew before each forward stand among the plain attributes.
    yield from (held for held in _held(model) if isinstance(held, Tensor))


def _held(model: nn.Module) -> Iterator[Any]:
    """Give the attributes of a model and its parts."""
    for module in model.modules():
        yield from vars(module).values()


def state(model: nn.Module) -> list[Tensor]:
    """Give all parameters and buffers."""
    return [*model.parameters(), *model.buffers()]


def storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Give the size in bytes of each piece of memory that tensors lie in, by its address."""
    held = [tensor.untyped_storage() for tensor in tensors if not tensor.is_meta]
    return {storage.data_ptr(): storage.nbytes() for storage in held}
