"""The entry of one example of an explanation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import torchattr as ta
from torchattr.results import Subject, array_of, entry_of
from torchattr.results.entries import flat


def explained() -> ta.Explanation:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    return ta.explain(model, torch.rand(2, 3, 8, 8), ["saliency"], ta.TopK(2), layer="1")


def test_an_entry_holds_the_maps_scores_and_targets_of_its_example() -> None:
    found = explained()
    entry = entry_of(found, 1, Subject("second"), ["a", "b", "c"])
    assert np.array_equal(entry.arrays["saliency"], found["saliency"][1].numpy())
    assert np.array_equal(entry.arrays["targets"], found.targets[1].numpy())
    named = [target["name"] for target in entry.record["targets"]]
    assert named == [["a", "b", "c"][index] for index in found.targets[1].tolist()]
    assert entry.picture is not None
    assert entry.path == "second"


def test_probabilities_are_listed_with_the_targets() -> None:
    entry = entry_of(explained(), 0, Subject("x", probabilities=[0.75, 0.25]))
    assert [target["probability"] for target in entry.record["targets"]] == [0.75, 0.25]


def test_maps_that_the_panel_leaves_out_are_recorded() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    x, methods = torch.rand(1, 3, 8, 8), ["saliency", "grad_cam"]
    with pytest.warns(ta.NotSpatialWarning, match="layer '3' has no positions"):
        found = ta.explain(net.eval(), x, methods, targets=1, layer=["0", "3"])
    entry = entry_of(found, 0, Subject("one"))
    assert entry.drawing is not None
    assert entry.record["undrawn"] == ["grad_cam/3"]


def test_tensors_of_several_layers_get_names() -> None:
    one = torch.ones(1)
    assert [key for key, _ in flat("m", {"a": (one, one), "b": one})] == ["m/a/0", "m/a/1", "m/b"]


def test_bfloat16_becomes_float32() -> None:
    assert array_of(torch.ones(1, dtype=torch.bfloat16)).dtype == np.float32
