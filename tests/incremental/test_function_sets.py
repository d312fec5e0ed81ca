"""Sets of functions: every variant of a name is in them, and no two sets disagree."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.incremental.arguments import Ref
from torchattr.incremental.function_sets import (
    POINTWISE,
    REARRANGING,
    RESHAPING,
    CannotLower,
    name_of,
    single_output,
)
from torchattr.incremental.tape import TapeEntry


@pytest.mark.parametrize(
    "function",
    [
        *(torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__),
        *(torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor, F.relu, torch.sigmoid_),
    ],
)
def test_all_variants_of_a_name_are_pointwise(function: object) -> None:
    assert function in POINTWISE


def test_sets_are_disjoint_and_leave_out_what_mixes_pixels() -> None:
    assert POINTWISE.isdisjoint(REARRANGING)
    assert RESHAPING < REARRANGING
    for function in (torch.softmax, torch.sum, torch.cumsum, torch.sort, F.conv2d):
        assert function not in POINTWISE | REARRANGING


def test_a_call_with_several_outputs_has_no_single_one() -> None:
    one = TapeEntry(torch.relu, (Ref(0),), {}, Ref(1), (0,), (1,), False)
    assert single_output(one.outputs, one) == (1,)
    two = TapeEntry(torch.chunk, (Ref(0), 2), {}, (Ref(1), Ref(2)), (0,), (1, 2), False)
    with pytest.raises(CannotLower, match="chunk returns more than one tensor"):
        single_output(two.outputs, two)


def test_names_are_readable() -> None:
    assert name_of(torch.relu) == "relu"
    assert name_of(3) == "3"
