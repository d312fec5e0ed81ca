"""Lower one call of a model, for tests of operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.incremental.operators.operator import Changed, Operator
from torchattr.incremental.schedule import lower_tape
from torchattr.incremental.tape import TapeMode
from torchattr.kernels import Boxes


def operators_of(model: Any, *inputs: Tensor) -> list[Operator]:
    """Return the operators of a model, all of whose calls can be lowered."""
    recording = TapeMode(inputs)
    with torch.no_grad(), recording:
        recording.finish(model(*inputs))
    lowered = lower_tape(recording.tape, len(inputs))
    assert lowered.reasons == {}
    return [operator for operators in lowered.operators for operator in operators]


def box(top: int, left: int, bottom: int, right: int) -> Boxes:
    """Return one box in the first image."""
    numbers = [np.array([number]) for number in (0, top, left, bottom, right)]
    return Boxes.of(*numbers)


def changed(operator_input: Tensor, variant: Tensor, boxes: Boxes, grid: Any) -> Changed:
    """Return a variant of an input `(1, C, H, W)` that differs inside one box."""
    _, top, left, bottom, right, _ = boxes.table[0]
    rows = variant[0, :, top:bottom, left:right].flatten(1).T.contiguous()
    return Changed(grid, rows, boxes, lambda: grid.channels_last(operator_input))
