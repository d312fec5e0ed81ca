"""Measuring how much memory objects keep alive, each buffer counted once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

BYTES_OF_A_PIXEL = {"1": 1, "L": 1, "P": 1, "LA": 4, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Bytes per pixel in Pillow; all other modes, including RGB, take four."""


def buffers(root: Any) -> dict[int, int]:
    """Return the buffers that an object keeps alive, `{address: bytes}`.

    Follows the attributes of the object, containers, and the attributes of this package's own
    objects. A view counts as the whole buffer that it keeps alive.

    >>> whole = np.zeros((100, 8))
    >>> sum(buffers(whole[:1]).values()) == sum(buffers([whole, whole[5:]]).values()) - 72
    True
    """
    sizes: dict[int, int] = {}
    pending, seen = [root, *getattr(root, "__dict__", {}).values()], set[int]()
    while pending:
        item = pending.pop()
        if id(item) not in seen:
            seen.add(id(item))
            address, size = _buffer(item)
            sizes[address] = size
            pending += _children(item)
    return sizes


class ByteLedger:
    """Sums up buffers that several items may share.

    Args:
        free: addresses of buffers that stay alive anyway, and are not counted.

    >>> ledger = ByteLedger()
    >>> ledger.add({1: 100, 2: 50}), ledger.add({1: 100}), ledger.remove({1: 100, 2: 50})
    (None, None, None)
    >>> ledger.nbytes
    100
    """

    def __init__(self, free: Iterable[int] = ()) -> None:
        self.nbytes = 0
        self._free = frozenset(free)
        self._holders: dict[int, int] = {}

    def cost(self, sizes: Mapping[int, int]) -> int:
        """Return the size of an item if nothing else were stored."""
        return sum(size for address, size in sizes.items() if address not in self._free)

    def add(self, sizes: Mapping[int, int]) -> None:
        for address, size in sizes.items():
            if address not in self._free:
                count = self._holders.get(address, 0)
                self._holders[address] = count + 1
                self.nbytes += 0 if count else size

    def remove(self, sizes: Mapping[int, int]) -> None:
        for address, size in sizes.items():
            if address not in self._free:
                self._holders[address] -= 1
                if not self._holders[address]:
                    del self._holders[address]
                    self.nbytes -= size


def _buffer(item: Any) -> tuple[int, int]:
    if isinstance(item, Tensor):
        return _storage(item) or (id(item), sys.getsizeof(item))
    if isinstance(item, np.ndarray) and item.base is None:
        return item.__array_interface__["data"][0], item.nbytes
    if isinstance(item, Image.Image):
        return id(item), item.width * item.height * BYTES_OF_A_PIXEL.get(item.mode, 4)
    return id(item), sys.getsizeof(item)


def _storage(tensor: Tensor) -> tuple[int, int] | None:
    """Return address and bytes of a tensor's numbers.

    None for lazy, fake, meta, sparse and opaque tensors, whose storage cannot be inspected.
    """
    try:
        storage = tensor.untyped_storage()
        # Fake tensors only pretend to be elsewhere, and refuse to give an address.
        address = 0 if storage.device.type == "meta" else storage.data_ptr()
    except (RuntimeError, NotImplementedError, ValueError):
        return None
    return (address, storage.nbytes()) if address else None


def _children(item: Any) -> list[Any]:
    if isinstance(item, np.ndarray):
        return [] if item.base is None else [item.base]
    if isinstance(item, memoryview):
        return [item.obj]
    if isinstance(item, Mapping):
        return [*item.keys(), *item.values()]
    if isinstance(item, (list, tuple, set, frozenset)):
        return list(item)
    if isinstance(item, Image.Image):
        return [item.info]
    own = type(item).__module__.partition(".")[0] == "torchattr" and not isinstance(item, type)
    return list(vars(item).values()) if own and hasattr(item, "__dict__") else []
