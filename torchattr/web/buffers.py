"""How much memory something keeps alive, each piece of it counted once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

BYTES_OF_A_PIXEL = {"1": 1, "L": 1, "P": 1, "LA": 4, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""What Pillow stores for a pixel; all other modes, RGB among them, have four bytes."""


def buffers(thing: Any) -> dict[int, int]:
    """Return the pieces of memory that something keeps alive, `{address: bytes}`.

    It looks into the attributes of `thing`, containers, and the attributes of this package's own
    objects. A view counts as the whole memory that it keeps alive, and what is reached in several
    ways counts once.

    >>> whole = np.zeros((100, 8))
    >>> sum(buffers(whole[:1]).values()) == sum(buffers([whole, whole[5:]]).values()) - 72
    True
    """
    found: dict[int, int] = {}
    left, seen = [thing, *getattr(thing, "__dict__", {}).values()], set[int]()
    while left:
        one = left.pop()
        if id(one) not in seen:
            seen.add(id(one))
            address, size = _memory(one)
            found[address] = size
            left += _inside(one)
    return found


class Ledger:
    """Adds up pieces of memory that several things may share.

    Args:
        free: addresses of what is kept alive in any case.

    >>> ledger = Ledger()
    >>> ledger.add({1: 100, 2: 50}), ledger.add({1: 100}), ledger.take({1: 100, 2: 50})
    (None, None, None)
    >>> ledger.nbytes
    100
    """

    def __init__(self, free: Iterable[int] = ()) -> None:
        self.nbytes = 0
        self._free = frozenset(free)
        self._holders: dict[int, int] = {}

    def cost(self, pieces: Mapping[int, int]) -> int:
        """Return how much something would be if nothing else were held."""
        return sum(size for address, size in pieces.items() if address not in self._free)

    def add(self, pieces: Mapping[int, int]) -> None:
        for address, size in pieces.items():
            if address not in self._free:
                count = self._holders.get(address, 0)
                self._holders[address] = count + 1
                self.nbytes += 0 if count else size

    def take(self, pieces: Mapping[int, int]) -> None:
        for address, size in pieces.items():
            if address not in self._free:
                self._holders[address] -= 1
                if not self._holders[address]:
                    del self._holders[address]
                    self.nbytes -= size


def _memory(one: Any) -> tuple[int, int]:
    if isinstance(one, Tensor):
        return _storage(one) or (id(one), sys.getsizeof(one))
    if isinstance(one, np.ndarray) and one.base is None:
        return one.__array_interface__["data"][0], one.nbytes
    if isinstance(one, Image.Image):
        return id(one), one.width * one.height * BYTES_OF_A_PIXEL.get(one.mode, 4)
    return id(one), sys.getsizeof(one)


def _storage(tensor: Tensor) -> tuple[int, int] | None:
    """Return address and bytes of a tensor's numbers.

    None for lazy, fake, meta, sparse and opaque tensors, whose storage is not there to be asked.
    """
    try:
        storage = tensor.untyped_storage()
        # Fake tensors only pretend to be elsewhere, and refuse to give an address.
        address = 0 if storage.device.type == "meta" else storage.data_ptr()
    except (RuntimeError, NotImplementedError, ValueError):
        return None
    return (address, storage.nbytes()) if address else None


def _inside(one: Any) -> list[Any]:
    if isinstance(one, np.ndarray):
        return [] if one.base is None else [one.base]
    if isinstance(one, memoryview):
        return [one.obj]
    if isinstance(one, Mapping):
        return [*one.keys(), *one.values()]
    if isinstance(one, (list, tuple, set, frozenset)):
        return list(one)
    if isinstance(one, Image.Image):
        return [one.info]
    own = type(one).__module__.partition(".")[0] == "torchattr" and not isinstance(one, type)
    return list(vars(one).values()) if own and hasattr(one, "__dict__") else []
