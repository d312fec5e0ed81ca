"""The run of a reference, with which several others are compared."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from helpers import noise, seeded
from torch import Tensor, nn

from torchattr.layers import ComparedInputs, ReferenceRun, Trace
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


def test_what_a_reference_keeps_of_a_call_is_told_before_it_runs() -> None:
    x, y = noise(2, 4), noise(2, 4, seed=1)
    q, k, v = noise(3, 2, 5, 4)
    kept = {
        "relu": (torch.relu, (x,), (x,)),
        "in place": (Tensor.relu_, (x,), (x,)),
        "gelu": (F.gelu, (x,), (x,)),
        "layer_norm": (F.layer_norm, (x, (4,)), (x,)),
        "product": (torch.mul, (x, y), (x, y)),
        "attention": (F.scaled_dot_product_attention, (q, k, v), (q, k, v)),
        "linear": (F.linear, (x, noise(3, 4)), ()),
        "sum": (torch.add, (x, y), ()),
        "view": (Tensor.flatten, (x,), ()),
    }
    keeps = ComparedInputs()
    for name, (function, args, expected) in kept.items():
        found = keeps(function, args, {})
        assert [id(one) for one in found] == [id(one) for one in expected], name


def test_every_rule_called_rescale_is_used() -> None:
    table = ReferenceRun(MODEL, [X0]).table()
    assert {"relu", "gelu", "sigmoid", "max_pool", "attention", "layer_norm", "mul"} <= set(table)
    assert not {"conv", "linear", "add", "cat", "avg_pool", "batch_norm"} & set(table)
