"""Convolutions and pools on changed pixels."""

from __future__ import annotations

from typing import Any

import pytest
import torch.nn.functional as F
from helpers import assert_same, noise, seeded
from lowering import box, changed, operators_of
from torch import nn

from torchattr.incremental.grid import Grid
from torchattr.incremental.operators.windows import Convolved, Pooled
from torchattr.kernels.reference.patches import TorchPatches

X, OTHER = noise(1, 3, 8, 8), noise(1, 3, 8, 8, seed=1)
GRID = Grid(tuple(X.shape), (2, 3))
BOXES = box(2, 3, 4, 5)
VARIANT = X.clone()
VARIANT[:, :, 2:4, 3:5] = OTHER[:, :, 2:4, 3:5]
CONV = seeded(nn.Conv2d, 3, 5, 3, stride=2, padding=1).double().requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (CONV, Convolved),
        (lambda x: F.max_pool2d(x, 2), Pooled),
        (lambda x: F.avg_pool2d(x, 3, 1, 1), Pooled),
        (lambda x: F.adaptive_avg_pool2d(x, 1), Pooled),
    ],
)
def test_rows_are_those_of_the_whole_result(model: Any, kind: type) -> None:
    (operator,) = operators_of(model, X)
    assert isinstance(operator, kind)
    boxes = operator.boxes([BOXES])
    rows = operator.run([changed(X, VARIANT, BOXES, GRID)], boxes, TorchPatches())
    _, top, left, bottom, right, _ = boxes.table[0]
    expected = model(VARIANT)[0, :, top:bottom, left:right].flatten(1).T
    assert_same(rows, expected, 1e-12)


def test_packed_weights_are_counted_and_released() -> None:
    (operator,) = operators_of(CONV, X)
    assert operator.packing_bytes == 4 * CONV.weight.nbytes
    operator.convolution.packed["backend"] = CONV.weight
    assert operator.held_bytes == CONV.weight.nbytes
    operator.release()
    assert operator.held_bytes == 0
