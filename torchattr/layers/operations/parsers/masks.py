"""The origins of a forward's masks: which tensor was compared with zero to make each of them.

Only its origin identifies a mask. Its values may match those of a comparison by chance: so do those
of a mask that was loaded with an image, if the image is positive throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakIdRef, WeakTensorKeyDictionary

from torchattr.core.functorch import is_wrapped, unwrapped

aten = torch.ops.aten


class MaskValue:
    """The content of a tensor at one moment, recognised without keeping the tensor alive.

    Aliases of the whole tensor (`detach`, `view_as`) have the same value until something writes
    over it.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = WeakIdRef(tensor)
        # The reference keeps the address of the storage from being used again.
        self._storage = StorageWeakRef(tensor.untyped_storage()) if _has_memory(tensor) else None
        self._form = _form(tensor)

    def is_held_by(self, tensor: Tensor) -> bool:
        """Whether `tensor` holds this value now."""
        if _form(tensor) != self._form:
            return False
        if self._storage is None or not _has_memory(tensor):
            return self._tensor() is tensor
        return bool(self._storage.cdata == tensor.untyped_storage()._cdata)


@dataclass(frozen=True)
class Origin:
    """The tensor that was compared with zero, and whether the mask is true where it is positive.

    `made` is the mask's own value: a mask that was written over has no origin any more.
    """

    compared: MaskValue
    positive: bool
    made: MaskValue


class MaskOrigins:
    """Records the origins of the masks of one forward, without keeping any tensor alive."""

    def __init__(self) -> None:
        self._origins: Any = WeakTensorKeyDictionary()
        self._aliases: Any = WeakTensorKeyDictionary()

    def note(
        self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        """Record a finished call: it may have made a mask, or changed the form of one."""
        noting = _NOTING.get(function)
        if noting is not None and isinstance(result, Tensor):
            noting(self, result, *args, *kwargs.values())

    def is_positive(self, mask: Any, tensor: Any) -> bool:
        """Whether `mask` is true exactly where `tensor`, of the graph, is positive."""
        return self._gates(mask, tensor, positive=True)

    def is_negative(self, mask: Any, tensor: Any) -> bool:
        """Whether `mask` is true exactly where `tensor`, of the graph, is negative."""
        return self._gates(mask, tensor, positive=False)

    def _gates(self, mask: Any, tensor: Any, *, positive: bool) -> bool:
        if not isinstance(mask, Tensor) or not isinstance(tensor, Tensor):
            return False
        origin = self._origin(mask)
        return (
            origin is not None
            and origin.positive is positive
            and unwrapped(tensor).requires_grad
            and origin.compared.is_held_by(tensor)
        )

    def _origin(self, mask: Tensor) -> Origin | None:
        origin: Origin | None = self._origins.get(mask)
        return origin if origin is not None and origin.made.is_held_by(mask) else None

    def _value(self, tensor: Tensor) -> MaskValue:
        """Return the value of a tensor; `data` has versions of its own, so it is looked up."""
        alias: tuple[MaskValue, MaskValue] | None = self._aliases.get(tensor)
        return alias[1] if alias and alias[0].is_held_by(tensor) else MaskValue(tensor)

    def _set(self, mask: Tensor, compared: MaskValue, positive: bool) -> None:
        self._origins[mask] = Origin(compared, positive, MaskValue(mask))

    def _compared(self, result: Tensor, left: Any, right: Any, *, greater: bool) -> None:
        if isinstance(left, Tensor) and is_zero(right):
            self._set(result, self._value(left), greater)
        elif isinstance(right, Tensor) and is_zero(left):
            self._set(result, self._value(right), not greater)

    def _turned(self, result: Tensor, mask: Any, *rest: Any, flip: bool = False) -> None:
        origin = self._origin(mask) if isinstance(mask, Tensor) else None
        if origin is not None:
            self._set(result, origin.compared, origin.positive is not flip)

    def _stepped(self, result: Tensor, tensor: Any, *rest: Any) -> None:
        if isinstance(tensor, Tensor):
            self._set(result, self._value(tensor), True)

    def _aliased(self, result: Tensor, tensor: Any, *rest: Any) -> None:
        if isinstance(tensor, Tensor):
            self._aliases[result] = (MaskValue(result), self._value(tensor))
            self._turned(result, tensor)


def is_zero(value: Any) -> bool:
    """Whether a number, or every element of a tensor, is zero."""
    if not isinstance(value, Tensor):
        return isinstance(value, (int, float)) and value == 0
    known = not (value.requires_grad or value.is_meta or is_wrapped(value))
    return known and not bool(value.detach().any())


def _has_memory(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not (tensor.is_meta or is_wrapped(tensor))


def _form(tensor: Tensor) -> tuple[Any, ...]:
    held = unwrapped(tensor)
    version = None if held.is_inference() else held._version
    if not _has_memory(tensor):
        return (tensor.shape, tensor.dtype, version)
    return (tensor.shape, tensor.dtype, version, tensor.stride(), tensor.storage_offset())


Noting = Callable[..., None]


def _greater(masks: MaskOrigins, result: Tensor, left: Any, right: Any, *rest: Any) -> None:
    masks._compared(result, left, right, greater=True)


def _less(masks: MaskOrigins, result: Tensor, left: Any, right: Any, *rest: Any) -> None:
    masks._compared(result, left, right, greater=False)


def _flipped(masks: MaskOrigins, result: Tensor, *args: Any) -> None:
    masks._turned(result, *args, flip=True)


def _spelled(noting: Noting, *names: str) -> dict[Any, Noting]:
    """Return the function for each spelling of these names: torch's, the method, and aten's."""
    functions = [getattr(owner, name, None) for owner in (torch, Tensor) for name in names]
    for packet in (getattr(aten, name) for name in names if hasattr(aten, name)):
        functions += [packet, *(getattr(packet, o) for o in packet.overloads() if "out" not in o)]
    return {function: noting for function in functions if callable(function)}


_NOTING: Mapping[Any, Noting] = {
    **_spelled(_greater, "gt", "greater", "ge", "greater_equal"),
    **_spelled(_less, "lt", "less", "le", "less_equal"),
    **_spelled(_flipped, "logical_not", "bitwise_not", "__invert__"),
    **_spelled(MaskOrigins._stepped, "heaviside"),
    **_spelled(
        MaskOrigins._turned, "clone", "detach", "to", "type", "type_as", "contiguous", "_to_copy"
    ),
    **_spelled(MaskOrigins._turned, "bool", "int", "long", "short", "byte", "char"),
    **_spelled(MaskOrigins._turned, "float", "double", "half", "bfloat16"),
    Tensor.data.__get__: MaskOrigins._aliased,  # type: ignore[attr-defined]
}

MAKES_MASKS = frozenset(_NOTING)
"""The functions whose calls :meth:`MaskOrigins.note` records."""
