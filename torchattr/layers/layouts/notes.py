"""Values attached to tensors for as long as these live."""

from __future__ import annotations

from typing import Generic, TypeVar
from weakref import ReferenceType, ref

from torch import Tensor

T = TypeVar("T")


class TensorNotes(Generic[T]):
    """Maps tensors, by identity and without keeping them alive, to values.

    `torch.utils.weak.WeakTensorKeyDictionary` does the same, but is too slow for every call of a
    forward. This one keeps the values of deleted tensors until it is deleted itself.

    >>> import torch
    >>> notes, tensor = TensorNotes[str](), torch.ones(2)
    >>> notes[tensor] = "seen"
    >>> notes.get(tensor), notes.get(torch.ones(2))
    ('seen', None)
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[ReferenceType[Tensor], T]] = {}

    def __setitem__(self, tensor: Tensor, value: T) -> None:
        self._entries[id(tensor)] = (ref(tensor), value)

    def get(self, tensor: Tensor) -> T | None:
        entry = self._entries.get(id(tensor))
        # A new tensor may have the `id` of a deleted one.
        return entry[1] if entry is not None and entry[0]() is tensor else None
