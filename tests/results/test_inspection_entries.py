"""Entries of feature maps, back-projections and kernels."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import nn

import torchattr as ta
from torchattr.results import (
    Sight,
    dream_entry,
    groups_of,
    kernels_entry,
    maps_entry,
    projection_entry,
)
from torchattr.show import FigureHead, Look
from torchattr.show.elements import Raster
from torchattr.show.text import TextLine


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
    singles = dict(entry.singles())
    assert list(singles) == ["0002", "0000"]
    assert np.array_equal(singles["0000"], maps.picture("1", channels=[0]))
    assert entry.record["channels"] == [2, 0]
    assert entry.record["source"] == "x.png"


def test_a_single_map_has_the_picture_beside_it_as_the_grid_has() -> None:
    maps = ta.feature_maps(model(), X, "1")
    head = FigureHead("net", "x.png", np.zeros((30, 40, 3), np.uint8))
    entry = maps_entry(maps, "1", 0, [2], sight=Sight(head), name="x")
    alone = dict(entry.singles())["0002"]
    assert np.array_equal(alone, maps.picture("1", channels=[2], head=head))
    assert alone.width > maps.picture("1", channels=[2]).width + 200


def test_a_grid_holds_the_strongest_maps_of_many_and_the_arrays_all() -> None:
    values = torch.arange(200.0).reshape(1, 200, 1, 1).expand(1, 200, 2, 2)
    maps = ta.inspect.FeatureMaps({"a": (values,)})
    entry = maps_entry(maps, "a", 0, name="x")
    assert len(entry.arrays["maps"]) == 200
    assert entry.picture is not None
    assert np.array_equal(entry.picture, maps.picture("a", top=64))
    few = maps_entry(maps, "a", 0, top=3, name="x")
    assert few.arrays["channels"].tolist() == [199, 198, 197]
    assert np.array_equal(few.picture, maps.picture("a", top=3))  # type: ignore[arg-type]


def test_back_projections_keep_where_they_start() -> None:
    found = ta.back_project(model(), X, "1", "top2")
    entry = projection_entry(found, 0, crop=False, name="x")
    assert np.array_equal(entry.arrays["pictures"], found.pictures[0].numpy())
    assert entry.arrays["positions"].shape == (2, 2)
    assert entry.record["start"] == "max"
    assert [name for name, _ in entry.singles()] == [f"{n:04}" for n in found.channels[0].tolist()]


def test_kernels_keep_their_channels() -> None:
    kernels = ta.conv_kernels(model(), "0")
    entry = kernels_entry(kernels, {}, name="0")
    assert entry.arrays["kernels"].shape == (4, 3, 3, 3)
    assert entry.path == "kernels/0"
    assert entry.title == "Kernels of 0"


def test_a_dream_is_drawn_large_and_names_what_it_is_of() -> None:
    picture = Image.new("RGB", (30, 20), (255, 0, 0))
    sight = Sight(FigureHead("tiny"), Look("dark", scale=2))
    entry = dream_entry(X[0], picture, "cat", ["from noise"], sight, name="cat")
    assert entry.drawing is not None
    (drawn,) = [one for one in entry.drawing.elements if isinstance(one, Raster)]
    assert drawn.box[2:] == (672, 448)
    assert entry.drawing.look == sight.look
    texts = [one.text for one in entry.drawing.elements if isinstance(one, TextLine)]
    assert texts == ["What excites cat", "model: tiny · from noise", "30 × 20 pixels"]
