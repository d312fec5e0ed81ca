"""The counts of a row include its submodules, and no modules with a similar name."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchattr.core.select import layer_names
from torchattr.inspect.summaries.cost_counter import CostCounter
from torchattr.inspect.summaries.rows import summary_rows


class Two(nn.Module):
    """Two submodules, of which one's name is a prefix of the other's."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        self.ab = nn.Sequential(nn.Linear(2, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.ab(self.a(x)) - 1)


def test_a_row_holds_its_parts_and_no_namesake() -> None:
    model = Two().eval()
    names = layer_names(model)
    rows = summary_rows(model, names, CostCounter(model, names, (torch.ones(1, 2),), ()))
    found = {row.name: (row.parameters, row.multiply_adds, row.relu_calls) for row in rows}
    assert found == {
        "": (15, 10, 3),
        "a": (6, 4, 1),
        "a.0": (6, 4, 0),
        "a.1": (0, 0, 1),
        "ab": (9, 6, 1),
        "ab.0": (9, 6, 0),
        "ab.1": (0, 0, 1),
    }
    assert [row.index for row in rows] == [None, None, 0, 1, None, 2, 3]
