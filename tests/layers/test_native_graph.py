"""What a graph tells of the forward that made it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers import noise
from torch import Tensor

from torchattr.layers import rule_table
from torchattr.layers.native_graph import NativeGraph
from torchattr.layers.nodes import UnknownNode

GUIDED = rule_table({"relu": "guided"})


def begun() -> Tensor:
    return noise(2, 3, 8, 8).requires_grad_() * 1


def read(end: Tensor, *sources: Tensor) -> NativeGraph:
    return NativeGraph([end.grad_fn], [source.grad_fn for source in sources], (GUIDED,))


def test_only_what_lies_between_is_counted() -> None:
    weight = noise(4, 3, 3, 3).requires_grad_()
    above, below = begun(), begun()
    graph = read(F.conv2d(above.relu(), weight.relu()).mean() + below.relu().sum(), above)
    assert dict(graph.coverage.calls) == {"relu": 1, "conv": 1, "add": 1}
    assert dict(graph.coverage.spellings) == {
        ("relu", "ReluBackward0"): 1,
        ("conv", "ConvolutionBackward0"): 1,
        ("add", "AddBackward0"): 1,
    }


def test_weights_that_depend_on_the_input_are_the_operations_own() -> None:
    x = begun()
    weight = x[:, :, :3, :3].relu()
    graph = read(F.conv2d(x, weight), x)
    assert graph.coverage.calls["conv"] == graph.coverage.own["conv"] == 1
    assert "relu" not in graph.coverage.own


def test_a_node_that_is_reached_twice_counts_once() -> None:
    x = begun()
    shared = x.relu()
    graph = read(torch.cat([shared, shared + shared], 1).sum(), x)
    assert graph.coverage.calls["relu"] == 1
    assert len(graph.nodes["relu"]) == 1


def test_what_is_unknown_counts_only_on_the_way() -> None:
    x, aside = begun(), begun()
    assert read(x.relu().sum() + aside.where(aside > 0, 0).sum(), x).coverage.calls["relu"] == 1
    with pytest.raises(UnknownNode, match="Where"):
        read(x.where(x > 0, 0).sum(), x)


def test_whether_scores_made_later_lead_to_a_source() -> None:
    x, aside = begun(), begun()
    output, other = x.relu(), aside.relu()
    graph = NativeGraph([output.grad_fn, other.grad_fn], [x.grad_fn], (GUIDED,))
    assert graph.leads_to_source(output[:, 1].sum().grad_fn)
    assert not graph.leads_to_source(other[:, 1].sum().grad_fn)
    assert not graph.leads_to_source(output.sign().sum().grad_fn)
    assert not graph.leads_to_source(torch.ones(2).grad_fn)
