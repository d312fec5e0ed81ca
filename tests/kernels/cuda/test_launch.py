"""The launch arguments of the CUDA kernels."""

from __future__ import annotations

import ctypes

import pytest
import torch
from helpers import refused

import torchattr as ta
from torchattr.kernels.cuda.launch import THREADS, Kernel, Packed, Strided, divisor


@pytest.mark.parametrize("value", [1, 2, 3, 7, 112, 12544, 2**31 - 1, 2**30 + 1])
def test_division_by_multiplication(value: int) -> None:
    _, factor, shift = divisor(value)
    assert factor < 2**32
    for dividend in (0, 1, value - 1, value, value + 1, 2**30 + 7, 2**31 - 1):
        if dividend < 2**31:
            assert ((dividend * factor >> 32) + dividend) >> shift == dividend // value


def test_arguments_in_c_form() -> None:
    x = torch.arange(6.0).view(2, 3)
    arguments = [x, Strided(x.T), None, 7, 2.5, (1, 2)]
    packed = Packed(arguments, torch.device("cpu"))
    types = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_longlong, ctypes.c_float)
    values = [
        ctypes.cast(pointer, ctypes.POINTER(kind)).contents.value
        for pointer, kind in zip(packed.pointers, types, strict=False)
    ]
    assert values == [x.data_ptr(), x.data_ptr(), None, 7, 2.5]
    pair = ctypes.cast(packed.pointers[5], ctypes.POINTER(ctypes.c_longlong))
    assert pair[:2] == [1, 2]
    with refused(ta.BackendError, "one run of memory"):
        Packed([torch.ones(4, 4)[:, ::2]], torch.device("cpu"))


def test_a_kernel_is_its_name_and_macros() -> None:
    assert Kernel("gate", ("FLOAT32",)).options == [f"-DTHREADS={THREADS}", "-DFLOAT32"]
