"""Batch-norms whose gradients come in strides that PyTorch mistakes for others."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

from torchattr.layers import NativeTrace, nodes
from torchattr.layers.stride_guard import is_ambiguous, strides_of_new

SHAPES = [(1, 6, 2, 2), (2, 6, 3, 1), (2, 6, 1, 3), (1, 6, 1, 3), (1, 6, 2, 2, 2), (2, 6, 1, 2, 2)]
PLAIN = [(8, 6), (1, 6), (1, 6, 4), (2, 6, 2, 2), (1, 6, 1, 1), (1, 1, 3, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_with_a_dimension_of_one_element_are_ambiguous(shape: tuple[int, ...]) -> None:
    assert is_ambiguous(shape)


@pytest.mark.parametrize("shape", PLAIN)
def test_others_are_not(shape: tuple[int, ...]) -> None:
    assert not is_ambiguous(shape)


def dense(shape: tuple[int, ...], order: tuple[int, ...]) -> Tensor:
    """Return noise whose dimensions lie in memory in this order, the fastest first."""
    strides, step = [0] * len(shape), 1
    for dim in order:
        strides[dim] = step
        step *= shape[dim]
    room = torch.empty_strided(shape, strides, dtype=torch.float64)
    return room.copy_(noise(*shape))


class Normed(nn.Module):
    """A batch-norm whose gradient arrives in the strides of `factor`."""

    def __init__(self, shape: tuple[int, ...], order: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm3d)(shape[1])
        self.factor = dense(shape, order)

    def forward(self, x: Tensor) -> Tensor:
        return Ordered.apply(self.norm(x), self.factor).flatten(1).sum(1, keepdim=True)


class Ordered(torch.autograd.Function):
    """A sum of products whose gradient is one of its factors as it lies in memory."""

    @staticmethod
    def forward(ctx: object, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)  # type: ignore[attr-defined]
        return x * factor

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.saved_tensors[0], None  # type: ignore[attr-defined]


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_in_any_strides_are_right(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The function that orders the gradient is no operation, so it would run lean.
    known = {**nodes._OPERATIONS, "OrderedBackward": ""}
    monkeypatch.setattr(nodes, "_OPERATIONS", known)
    x = noise(*shape)
    for order in permutations(range(len(shape))):
        model = seeded(Normed, shape, order).double().eval()
        norm = model.norm
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        expected = model.factor * scale.detach().view(-1, *[1] * (len(shape) - 2))
        trace = NativeTrace(model, (x,))
        (found,) = trace.gradients(trace.output[:, 0], trace.input_edges)
        assert_same(found, expected, 1e-12)


def test_strides_of_new_tensors() -> None:
    for shape in SHAPES:
        for strides in strides_of_new(shape):
            assert torch.empty_strided(shape, strides).stride() == strides
        assert strides_of_new(shape)[0] == torch.empty(shape).stride()
