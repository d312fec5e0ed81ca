"""The run of a reference, with which several others are compared."""

from __future__ import annotations

import torch
from helpers import noise, seeded
from torch import nn

from torchattr.layers import ReferenceRun, Trace
from torchattr.layers.rescaling import RescaleTable

MODEL = seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double())
X0 = noise(3, 4, seed=2)


def test_one_run_serves_several() -> None:
    run = ReferenceRun(MODEL, [X0])
    for seed in (4, 5):
        x = noise(3, 4, seed=seed)
        table = run.table()
        assert isinstance(table, RescaleTable)
        trace = Trace(MODEL, [x], tables=[table])
        (found,) = trace.gradients(trace.output[:, 1], trace.input_edges, keep=False)
        assert found is not None
        rise = (trace.output - run.trace.output)[:, 1]
        assert torch.allclose(((x - X0) * found).sum(1), rise)


def test_every_rule_called_rescale_is_used() -> None:
    table = ReferenceRun(MODEL, [X0]).table()
    assert {"relu", "gelu", "sigmoid", "max_pool", "attention", "layer_norm", "mul"} <= set(table)
    assert not {"conv", "linear", "add", "cat", "avg_pool", "batch_norm"} & set(table)
