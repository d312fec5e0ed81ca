"""Arrays of every layout as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from torchattr.core.arrays import tensor_of


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3)[::-1],
        np.arange(6.0).reshape(2, 3).T,
        np.arange(6, dtype=">i4"),
        np.arange(6, dtype=">f4")[::-2],
        np.arange(6, dtype=np.longdouble),
        np.arange(6, dtype=np.uint16),
        _read_only(np.arange(6.0)),
        np.array(3.0),
        np.ones((2, 2), bool),
        np.ones((0, 2)),
    ],
)
def test_values_and_shape_are_kept(array: np.ndarray[Any, Any]) -> None:
    found = tensor_of(array)
    assert tuple(found.shape) == array.shape
    assert found.tolist() == array.tolist()


def test_memory_is_shared_where_it_can_be() -> None:
    array = np.zeros(3, np.float32)
    found = tensor_of(array)
    array[1] = 5
    assert found.dtype == torch.float32
    assert found.tolist() == [0, 5, 0]
