"""The launch arguments of the CUDA kernels."""

from __future__ import annotations

import ctypes

import pytest
import torch

from torchattr.kernels.cuda.launch import THREADS, Kernel, LaunchPlan, divisor


@pytest.mark.parametrize("value", [1, 2, 3, 7, 112, 12544, 2**31 - 1, 2**30 + 1])
def test_division_by_multiplication(value: int) -> None:
    _, factor, shift = divisor(value)
    assert factor < 2**32
    for dividend in (0, 1, value - 1, value, value + 1, 2**30 + 7, 2**31 - 1):
        if dividend < 2**31:
            assert ((dividend * factor >> 32) + dividend) >> shift == dividend // value


def test_arguments_in_c_form() -> None:
    x = torch.arange(6.0).view(2, 3)
    plan = LaunchPlan(Kernel("gate", ()), 257, 2, 7, 2.5, (1, 2))
    assert plan.blocks == 2
    parameters = plan.parameters([x.data_ptr(), None])
    types = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_longlong, ctypes.c_float)
    values = [
        ctypes.cast(pointer, ctypes.POINTER(kind)).contents.value
        for pointer, kind in zip(parameters.array, types, strict=False)
    ]
    assert values == [x.data_ptr(), None, 7, 2.5]
    pair = ctypes.cast(parameters.array[4], ctypes.POINTER(ctypes.c_longlong))
    assert pair[:2] == [1, 2]


def test_launches_of_one_plan_share_no_addresses() -> None:
    plan = LaunchPlan(Kernel("gate", ()), 1, 1, 7)
    one, other = plan.parameters([1]), plan.parameters([2])
    assert [of.held[0] for of in (one, other)] == [1, 2]
    assert one.array[0] != other.array[0]
    assert one.array[1] == other.array[1]


def test_a_kernel_is_its_name_and_macros() -> None:
    assert Kernel("gate", ("FLOAT32",)).options == [f"-DTHREADS={THREADS}", "-DFLOAT32"]
