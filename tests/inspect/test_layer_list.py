import torch
from torch import nn

from torchattr.inspect import list_layers


def test_layers_show_shapes_calls_and_what_did_not_run():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.unused = nn.Linear(2, 2)

        def forward(self, x):
            return self.conv(self.conv(x)).mean((2, 3))

    rows = {row.name: row for row in list_layers(Twice(), torch.ones(1, 3, 4, 4))}
    assert (rows["conv"].shape, rows["conv"].calls) == ((1, 3, 4, 4), 2)
    assert (rows["unused"].shape, rows["unused"].calls) == (None, 0)
    assert rows["conv"].type == "Conv2d"
    assert "kernel_size=(3, 3)" in rows["conv"].description


def test_depth_counts_the_dots():
    rows = list_layers(nn.Sequential(nn.Sequential(nn.Flatten())), torch.ones(1, 2))
    assert [(row.name, row.depth) for row in rows] == [("0", 0), ("0.0", 1)]
