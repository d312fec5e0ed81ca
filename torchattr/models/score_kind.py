"""Which operation a model's output comes from: a softmax, a sigmoid, or something else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.core.torch_private import TorchDispatchMode

# In inference mode, operations arrive by the names by which they are called.
_COPIES = frozenset(
    ("to_copy", "to", "clone", "copy", "contiguous", "reshape", "flatten", "alias_copy")
)


class Ending(TorchDispatchMode):
    """Watches a forward, and knows afterwards what made each tensor that it gave.

    Views and copies count as what they are of. What is not made by PyTorch has no known origin.

    >>> with torch.no_grad(), Ending() as ending:
    ...     probabilities = torch.ones(1, 3).softmax(1).reshape(3)
    >>> ending.of(probabilities)
    'softmax'
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, str] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            self._note(func, args, tensor)
        return result

    def of(self, output: Tensor) -> str | None:
        """Return the name of the operation that made an output, such as `softmax` or `addmm`."""
        place = _place(output)
        return None if place is None else self._made.get(place)

    def _note(self, func: Any, args: Any, tensor: Any) -> None:
        place = _place(tensor)
        if place is None:
            return
        name = func._schema.name.partition("::")[2].strip("_")
        given = [_place(one) for one in args if isinstance(one, Tensor)]
        if name in _COPIES and given:
            self._set(place, self._made.get(given[-1] or 0))
        elif place not in given or func._schema.is_mutable:
            self._set(place, name)

    def _set(self, place: int, name: str | None) -> None:
        # Memory is used again, so what was known of it before must not stay.
        self._made.pop(place, None)
        if name is not None:
            self._made[place] = name


def _place(tensor: Any) -> int | None:
    """Return the address of a plain tensor's memory, which its views share."""
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
        return None
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (NotImplementedError, RuntimeError):
        # Wrappers of other tensors have no memory of their own.
        return None
