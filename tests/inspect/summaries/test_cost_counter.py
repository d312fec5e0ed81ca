"""Counting a forward costs no more memory than inference, and counts each storage once."""

from __future__ import annotations

import pytest
import torch
from helpers import noise
from torch import Tensor, nn

from torchattr.core.select import layer_names
from torchattr.inspect.summaries.cost_counter import CostCounter

X = noise(2, 3, dtype=torch.float32)


class Shared(nn.Module):
    """Multiplies a tensor with itself, and with a parameter: one storage is remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x.sin()
        return (x * x + x.view(3, 2).t().contiguous() * x) * self.weight


def tally(model: nn.Module) -> CostCounter:
    return CostCounter(model, layer_names(model), (X,), ())


def test_each_storage_is_counted_once_and_parameters_never() -> None:
    # The input (for sin), its sine, and the transposed copy; views and the parameter are free.
    assert tally(Shared()).remembered == {"": 3 * X.nbytes}


def test_what_is_counted_has_no_backward() -> None:
    trace = tally(nn.Sequential(nn.Sigmoid())).trace
    with pytest.raises(RuntimeError, match="only run to count its cost"):
        trace.gradients(trace.output, trace.input_edges)


def test_counts_belong_to_the_innermost_module() -> None:
    found = tally(nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.ReLU())))
    assert dict(found.multiply_adds) == {"0.0": 24}
    assert {path: dict(counts) for path, counts in found.operations.items()} == {
        "0.0": {"linear": 1},
        "0.1": {"relu": 1},
    }
    assert dict(found.remembered) == {"0.1": 1}
    assert found.shapes["0"] == [(2, 4)]


def test_an_error_in_the_model_leaves_no_hook() -> None:
    model = nn.Sequential(nn.Linear(5, 4))
    with pytest.raises(RuntimeError):
        tally(model)
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks
