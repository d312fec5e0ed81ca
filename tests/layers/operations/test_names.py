"""All spellings of a function have one name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.layers.operations.names import base_name

aten = torch.ops.aten

FAMILIES: dict[str, tuple[Any, ...]] = {
    "mul": (torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, aten.mul.Tensor, aten.mul_.Tensor),
    "imul": (Tensor.__imul__,),
    "rmul": (Tensor.__rmul__,),
    "relu": (torch.relu, torch.relu_, Tensor.relu_, F.relu, aten.relu.default),
    "softmax": (torch.softmax, Tensor.softmax, F.softmax, aten._softmax.default, aten.softmax.int),
    "getitem": (Tensor.__getitem__,),
    "T": (Tensor.T.__get__,),  # type: ignore[attr-defined]
    "mT": (Tensor.mT.__get__,),  # type: ignore[attr-defined]
    "truediv": (Tensor.__truediv__,),
    "scaled_dot_product_attention": (F.scaled_dot_product_attention,),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_spellings_share_a_name(name: str) -> None:
    assert {base_name(function) for function in FAMILIES[name]} == {name}


def test_a_function_without_a_name_has_that_of_its_type() -> None:
    class Doubler:
        def __call__(self, x: Tensor) -> Tensor:
            return 2 * x

    assert base_name(Doubler()) == "Doubler"


def test_a_name_of_underscores_is_kept() -> None:
    def _(x: Tensor) -> Tensor:
        return x

    assert base_name(_) == "_"
