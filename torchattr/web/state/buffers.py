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
        thing = pending.pop()
        if id(thing) not in seen:
            seen.add(id(thing))
            address, size = _buffer(thing)
            sizes[address] = size
            pending += _children(thing)
    return sizes


class Ledger:
    """Sums up buffers that several items may share.

    Args:
        free: addresses of buffers that stay alive anyway, and are not counted.

    >>> ledger = Ledger()
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


def _buffer(thing: Any) -> tuple[int, int]:
    if isinstance(thing, Tensor):
        return _storage(thing) or (id(thing), sys.getsizeof(thing))
    if isinstance(thing, np.ndarray) and thing.base is None:
        return thing.__array_interface__["data"][0], thing.nbytes
    if isinstance(thing, Image.Image):
        return id(thing), thing.width * thing.height * BYTES_OF_A_PIXEL.get(thing.mode, 4)
    return id(thing), sys.getsizeof(thing)


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


def _children(thing: Any) -> list[Any]:
    if isinstance(thing, np.ndarray):
        return [] if thing.base is None else [thing.base]
    if isinstance(thing, memoryview):
        return [thing.obj]
    if isinstance(thing, Mapping):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    if isinstance(thing, Image.Image):
        return [thing.info]
    own = type(thing).__module__.partition(".")[0] == "torchattr" and not isinstance(thing, type)
    return list(vars(thing).values()) if own and hasattr(thing, "__dict__") else []
