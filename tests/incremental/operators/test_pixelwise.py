"""Pointwise calls on changed pixels, and a gate that changes a whole image."""

from __future__ import annotations

import torch
from helpers import noise
from lowering import box, changed, operators_of

from torchattr.incremental.grid import Grid
from torchattr.incremental.operators.operator import Changed
from torchattr.incremental.operators.pixelwise import ChannelGate, Pointwise
from torchattr.kernels.reference.patches import TorchPatches

X, VARIANT = noise(1, 2, 4, 5), noise(1, 2, 4, 5, seed=1)
GRID = Grid(tuple(X.shape), (2, 3))
BOXES = box(1, 2, 3, 4)


def test_pointwise_calls_run_on_the_changed_pixels_only() -> None:
    (operator,) = operators_of(lambda x: x * 2, X)
    assert isinstance(operator, Pointwise)
    rows = operator.run([changed(X, VARIANT, BOXES, GRID)], BOXES, TorchPatches())
    assert torch.equal(rows, 2 * VARIANT[0, :, 1:3, 2:4].flatten(1).T)
    assert operator.op_counts(4, 8) == {"bytes": 4 * 2 * 8 * 2}


def test_a_changed_gate_changes_the_whole_image() -> None:
    gate, other = noise(1, 2, 1, 1), noise(1, 2, 1, 1, seed=1)
    (operator,) = operators_of(torch.mul, X, gate)
    assert isinstance(operator, ChannelGate)
    single = Grid(tuple(gate.shape), (2, 3))
    values = [changed(X, VARIANT, BOXES, GRID), changed(gate, other, box(0, 0, 1, 1), single)]
    boxes = operator.boxes([value.boxes for value in values])
    assert boxes.table[0, 1:5].tolist() == [0, 0, 4, 5]
    variant = X.clone()
    variant[:, :, 1:3, 2:4] = VARIANT[:, :, 1:3, 2:4]
    rows = operator.run(values, boxes, TorchPatches())
    assert torch.equal(rows, (variant * other)[0].flatten(1).T)


def test_an_unchanged_gate_changes_what_the_image_does() -> None:
    gate = noise(1, 2, 1, 1)
    (operator,) = operators_of(torch.mul, X, gate)
    single = Grid(tuple(gate.shape), (2, 3))
    values = [
        changed(X, VARIANT, BOXES, GRID),
        Changed(single, gate.new_zeros(0, 2), box(0, 0, 0, 0), lambda: single.channels_last(gate)),
    ]
    assert operator.boxes([value.boxes for value in values]) == BOXES
    rows = operator.run(values, BOXES, TorchPatches())
    assert torch.equal(rows, (VARIANT * gate)[0, :, 1:3, 2:4].flatten(1).T)
