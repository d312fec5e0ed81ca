"""Entries of feature maps, back-projections and kernels."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import torchattr as ta
from torchattr.results import groups_of, kernels_entry, maps_entry, projection_entry


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())


X = torch.arange(192.0).reshape(1, 3, 8, 8).sin()


def test_layers_get_folders_of_their_own() -> None:
    groups = groups_of("maps", ["a/b", "a b"])
    assert list(groups) == ["a/b", "a b"]
    assert len(set(groups.values())) == 2
    assert all(group.startswith("maps/") for group in groups.values())


def test_feature_maps_are_kept_by_channel() -> None:
    maps = ta.feature_maps(model(), X, "1")
    entry = maps_entry(maps, "1", 0, [2, 0], name="x", record={"source": "x.png"})
    assert np.array_equal(entry.arrays["maps"], maps.as_maps("1")[0][[2, 0]].numpy())
    assert [name for name, _ in entry.singles()] == ["0002", "0000"]
    assert entry.record["channels"] == [2, 0]
    assert entry.record["source"] == "x.png"


def test_back_projections_keep_where_they_start() -> None:
    found = ta.back_project(model(), X, "1", "top2")
    entry = projection_entry(found, 0, crop=False, name="x")
    assert np.array_equal(entry.arrays["pictures"], found.pictures[0].numpy())
    assert entry.arrays["positions"].shape == (2, 2)
    assert entry.record["start"] == "max"


def test_kernels_keep_their_channels() -> None:
    kernels = ta.conv_kernels(model(), "0")
    entry = kernels_entry(kernels, {}, name="0")
    assert entry.arrays["kernels"].shape == (4, 3, 3, 3)
    assert entry.path == "kernels/0"
    assert entry.title == "Kernels of 0"
