"""Find the operation that produced a model's output, such as a softmax or a sigmoid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.core.torch_private import TorchDispatchMode

# In inference mode, composite operations are dispatched undecomposed, under their own names.
_COPIES = frozenset(
    ("to_copy", "to", "clone", "copy", "contiguous", "reshape", "flatten", "alias_copy")
)


class OutputOperation(TorchDispatchMode):
    """Records which operation produced each tensor of a forward.

    Views and copies count as their source. Tensors not produced by PyTorch have no operation.

    >>> with torch.no_grad(), OutputOperation() as operation:
    ...     probabilities = torch.ones(1, 3).softmax(1).reshape(3)
    >>> operation.of(probabilities)
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
        """Return the operation that produced an output, such as `softmax` or `addmm`."""
        address = _address(output)
        return None if address is None else self._made.get(address)

    def _note(self, func: Any, args: Any, tensor: Any) -> None:
        address = _address(tensor)
        if address is None:
            return
        name = func._schema.name.partition("::")[2].strip("_")
        given = [_address(one) for one in args if isinstance(one, Tensor)]
        if name in _COPIES and given:
            self._set(address, self._made.get(given[-1] or 0))
        elif address not in given or func._schema.is_mutable:
            self._set(address, name)

    def _set(self, address: int, name: str | None) -> None:
        # Memory is reused, so an older entry of the same address must go.
        self._made.pop(address, None)
        if name is not None:
            self._made[address] = name


def _address(tensor: Any) -> int | None:
    """Return the address of a strided tensor's storage, which its views share."""
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
        return None
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (NotImplementedError, RuntimeError):
        # Wrappers of other tensors have no memory of their own.
        return None
