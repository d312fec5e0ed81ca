"""Calls that only rearrange values: channels, pixels, and images flattened to rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import noise
from lowering import box, changed, operators_of

from torchattr.incremental.grid import Grid
from torchattr.incremental.operators.rearrange import ChannelGather, Flattened, PixelGather
from torchattr.kernels.reference.patches import TorchPatches

X, OTHER = noise(1, 3, 4, 5), noise(1, 3, 4, 5, seed=1)
GRID = Grid(tuple(X.shape), (2, 3))
BOXES = box(1, 2, 3, 4)
VARIANT = X.clone()
VARIANT[:, :, 1:3, 2:4] = OTHER[:, :, 1:3, 2:4]


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (lambda x: x[:, [2, 0]], ChannelGather),
        (lambda x: x.permute(0, 2, 3, 1), ChannelGather),
        (lambda x: F.pad(x, (1, 2, 0, 1), value=0.5), PixelGather),
        (lambda x: F.pad(x, (1, 2, 1, 1), mode="reflect"), PixelGather),
        (lambda x: F.interpolate(x, scale_factor=2.0), PixelGather),
        (lambda x: x.flatten(1), Flattened),
    ],
)
def test_rows_are_those_of_the_whole_result(model: Any, kind: type) -> None:
    (operator,) = operators_of(model, X)
    assert isinstance(operator, kind)
    boxes = operator.boxes([BOXES])
    rows = operator.run([changed(X, VARIANT, BOXES, GRID)], boxes, TorchPatches())
    whole = operator.grid.channels_last(model(VARIANT))
    _, top, left, bottom, right, _ = boxes.table[0]
    assert torch.equal(rows, whole[0, top:bottom, left:right].flatten(0, 1))
    clean = operator.grid.channels_last(model(X)).clone()
    clean[:, top:bottom, left:right] = whole[:, top:bottom, left:right]
    assert torch.equal(clean, whole)
