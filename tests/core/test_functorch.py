"""Transforms of `torch.func`, as seen from code inside them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import grad, vmap

from torchattr.core.functorch import (
    VmapFunction,
    is_only_mapped,
    is_transformed,
    is_wrapped,
    unwrapped,
)


def test_inside_and_outside() -> None:
    seen: list[tuple[bool, bool, bool]] = []

    def look(x: Tensor) -> Tensor:
        seen.append((is_transformed(), is_only_mapped(), is_wrapped(x)))
        return x.sum()

    x = torch.ones(2, 3)
    look(x)
    vmap(look)(x)
    grad(look)(x)
    vmap(grad(look))(x)
    assert seen == [(False, True, False), (True, True, True), *[(True, False, True)] * 2]


def test_unwrapping_gives_the_tensor_of_all_examples() -> None:
    x = torch.arange(6.0).view(2, 3)
    shapes = []

    def look(row: Tensor) -> Tensor:
        shapes.append((row.shape, unwrapped(row).shape))
        return row

    vmap(look)(x)
    assert shapes == [((3,), (2, 3))]
    assert unwrapped(x) is x


def test_a_function_runs_once_on_all_examples() -> None:
    shapes = []

    def double(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return 2 * x

    x = torch.arange(12.0).view(2, 2, 3)
    result = vmap(vmap(lambda row: VmapFunction.apply(double, row)))(x)
    assert torch.equal(result, 2 * x)
    assert shapes == [(2, 2, 3)]
