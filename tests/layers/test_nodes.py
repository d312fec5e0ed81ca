"""The table of PyTorch's graph nodes: it names nodes that exist, and knows each spelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.layers.nodes import _OPERATIONS, UnknownNode, operations_of

X = torch.linspace(-1, 1, 64, dtype=torch.float64).view(1, 4, 4, 4).requires_grad_()
WEIGHT = torch.ones(2, 4, dtype=torch.float64, requires_grad=True)
BIAS = torch.ones(2, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("name", _OPERATIONS)
def test_the_table_names_nodes_of_this_version(name: str) -> None:
    assert hasattr(torch._C._functions, name)


KNOWN: dict[str, tuple[Callable[[Tensor], Tensor], str | None]] = {
    "relu": (F.relu, "relu"),
    "relu in place": (lambda x: torch.relu_(x * 1), "relu"),
    "relu6": (F.relu6, "relu"),
    "relu6 in place": (lambda x: F.relu6(x * 1, inplace=True), "relu"),
    "clamp": (lambda x: x.clamp(min=0), "relu"),
    "clamp to a range": (lambda x: x.clamp(0, 3), "relu"),
    "clamp_min": (lambda x: x.clamp_min(0), "relu"),
    "hardtanh": (lambda x: F.hardtanh(x, -1, 1), None),
    "clamp elsewhere": (lambda x: x.clamp(-1, 1), None),
    "clamp from above": (lambda x: x.clamp(max=0), None),
    "leaky": (F.leaky_relu, "leaky_relu"),
    "prelu": (lambda x: F.prelu(x, torch.ones(1, dtype=x.dtype)), "prelu"),
    "elu": (F.elu, "elu"),
    "celu": (lambda x: F.celu(x, 2.0), "celu"),
    "selu": (F.selu, "selu"),
    "gelu": (F.gelu, "gelu"),
    "silu": (F.silu, "silu"),
    "mish": (F.mish, "mish"),
    "hardswish": (F.hardswish, "hardswish"),
    "softplus": (F.softplus, "softplus"),
    "conv": (lambda x: F.conv2d(x, torch.ones(2, 4, 1, 1, dtype=x.dtype)), "conv"),
    "linear": (lambda x: F.linear(x[0, 0], WEIGHT, BIAS), "linear"),
    "linear without bias": (lambda x: F.linear(x[0, 0], WEIGHT), "linear"),
    "matrix product": (lambda x: x[0, 0] @ WEIGHT.view(4, 2), None),
    "max-pool": (lambda x: F.max_pool2d(x, 2), "max_pool"),
    "mean pool": (lambda x: F.adaptive_avg_pool2d(x, 1), "adaptive_avg_pool"),
    "mean pool in 3-d": (lambda x: F.adaptive_avg_pool3d(x[None], 1), "adaptive_avg_pool"),
    "mean": (lambda x: x.mean((2, 3)), None),
    "sum of two": (lambda x: x + x, "add"),
    "layer norm": (lambda x: F.layer_norm(x, (4,)), "layer_norm"),
    "product with a number": (lambda x: 2 * x * 3, None),
    "product of two": (lambda x: x * x.sigmoid(), None),
}


def operation_of(node: Any) -> str | None:
    return next(iter(operations_of(type(node), [node])), None)


@pytest.mark.parametrize("name", KNOWN)
def test_nodes_tell_their_operation(name: str) -> None:
    function, expected = KNOWN[name]
    assert operation_of(function(X).grad_fn) == expected


class ReluBackward0(torch.autograd.Function):
    """A user's function that is called like a node of PyTorch's."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad


UNKNOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "mask": lambda x: x * (x > 0),
    "mask of numbers": lambda x: (x > 0).double() * x,
    "mask in place": lambda x: x.clone().mul_(x > 0),
    "where": lambda x: torch.where(x > 0, x, 0),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "dropout": lambda x: F.dropout(x, 0.5, training=True),
    "dilated max-pool": lambda x: F.max_pool2d(x, 2, dilation=2),
    "function of the user's": lambda x: ReluBackward0.apply(x),  # type: ignore[no-any-return]
    "batch-norm of ambiguous memory": lambda x: F.batch_norm(
        x.as_strided((1, 3, 2, 2), (3, 1, 6, 3)), torch.zeros(3).to(x), torch.ones(3).to(x)
    ),
    "batch-norm in training": lambda x: F.batch_norm(x, None, None, training=True),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_may_hide_a_rectifier_is_unknown(name: str) -> None:
    with pytest.raises(UnknownNode):
        operation_of(UNKNOWN[name](X).grad_fn)


def test_an_assignment_to_a_part_is_unknown() -> None:
    whole = X * 1
    whole[:, :2].relu_()
    with pytest.raises(UnknownNode, match="CopySlices"):
        operation_of(whole.grad_fn)
