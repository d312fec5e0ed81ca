"""Arrays as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def tensor_of(array: np.ndarray[Any, Any]) -> Tensor:
    """Return an array of numbers as a tensor, which shares its memory where that is possible.

    It is not where PyTorch has no such arrays: reversed ones, those of another byte order or of
    more than double precision, and read-only ones.

    >>> tensor_of(np.arange(3, dtype=">i4")[::-1]).tolist()
    [2, 1, 0]
    """
    kind = array.dtype.newbyteorder("=")
    if kind.kind == "f" and kind.itemsize > 8:
        kind = np.dtype(np.float64)
    return torch.from_numpy(np.require(array, kind, ["C", "W"]))
