"""Layers are selected by name, pattern, class, index or module; errors suggest close names."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import pytest
import torch
from helpers import refused
from torch import nn

from torchattr.core.select import find_layer, find_layers, layer_names
from torchattr.errors import InputTypeError, LayerError


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.norm = nn.BatchNorm2d(2)
        self.relu = nn.ReLU()


MODEL = nn.Sequential()
MODEL.add_module("stem", nn.Conv2d(3, 2, 3))
MODEL.add_module("layer1", nn.Sequential(Block(), Block()))
MODEL.add_module("head", nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ("layer1.0.conv", ["layer1.0.conv"]),
        ("layer1.?.conv", ["layer1.0.conv", "layer1.1.conv"]),
        ("*conv", ["layer1.0.conv", "layer1.1.conv"]),
        (re.compile(r"1\.(conv|relu)$"), ["layer1.1.conv", "layer1.1.relu"]),
        (nn.Conv2d, ["stem", "layer1.0.conv", "layer1.1.conv"]),
        (nn.modules.conv._ConvNd, ["stem", "layer1.0.conv", "layer1.1.conv"]),
        (0, ["stem"]),
        (-1, ["head"]),
        (slice(1, 4), ["layer1.0.conv", "layer1.0.norm", "layer1.0.relu"]),
        (slice(None, None, 5), ["stem", "layer1.1.norm"]),
        (MODEL.head, ["head"]),
        (["head", nn.ReLU, 0], ["head", "layer1.0.relu", "layer1.1.relu", "stem"]),
        (["head", "he*"], ["head"]),
    ],
)
def test_each_way_to_name_layers(selection: Any, found: list[str]) -> None:
    layers = find_layers(MODEL, selection)
    assert list(layers) == found
    assert all(layers[name] is MODEL.get_submodule(name) for name in found)


def test_an_empty_container_is_a_layer_without_parts() -> None:
    assert list(find_layers(nn.Sequential(nn.Sequential(), nn.ReLU()), slice(None))) == ["0", "1"]


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ("layer1.0.konv", ("'layer1.0.konv'", "did you mean 'layer1.0.conv'")),
        ("layer2.*.conv", ("'layer2.*.conv'", "did you mean 'layer1.")),
        (re.compile("layer9"), ("'layer9'", "'layer1")),
        (nn.LSTM, ("no layer of class LSTM",)),
        (8, ("index 8", "'stem'")),
        (slice(8, 9), ("index slice(8, 9, None)",)),
    ],
)
def test_an_unknown_layer_is_answered_with_the_closest(selection: Any, words: Any) -> None:
    with refused(LayerError, *words):
        find_layers(MODEL, selection)


@pytest.mark.parametrize("selection", [None, 1.5, True, Block().conv.weight, int, ["head", None]])
def test_what_names_no_layer_is_refused(selection: Any) -> None:
    with refused(InputTypeError, "a name, a pattern, a module, a class of modules"):
        find_layers(MODEL, selection)


def test_one_layer_is_found_by_name_or_module() -> None:
    assert find_layer(MODEL, "head") == ("head", MODEL.head)
    assert find_layer(MODEL, MODEL.head) == ("head", MODEL.head)
    assert find_layer(MODEL, nn.ReLU())[0] == "ReLU"
    with refused(InputTypeError, "got type"):
        find_layer(MODEL, nn.ReLU)  # type: ignore[arg-type]


def test_one_layer_is_found_by_a_pattern_that_only_it_matches() -> None:
    model = nn.Sequential(OrderedDict(stem=nn.ReLU(), stage1=nn.ReLU(), stage2=nn.ReLU()))
    assert find_layer(model, "ste?")[0] == "stem"
    with pytest.raises(LayerError, match=r"'stage\?' matches 2 layers, 'stage1', 'stage2'; name"):
        find_layer(model, "stage?")
    with pytest.raises(LayerError, match=r"no layer matches 'x\?'"):
        find_layer(model, "x?")


def test_a_function_names_no_layers() -> None:
    assert layer_names(lambda x: x) == {}
    assert find_layers(lambda x: x, MODEL.head) == {"Linear": MODEL.head}
    with refused(LayerError, "it is a function, whose layers can be given as modules only"):
        find_layers(lambda x: x, "head")


def test_a_bound_method_names_the_layers_of_its_model() -> None:
    assert layer_names(MODEL.forward) == layer_names(MODEL)


def test_compiled_parts_keep_their_names() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Sequential(nn.ReLU()))
    model[1] = torch.compile(model[1], backend="eager")
    names = layer_names(torch.compile(model, backend="eager"))
    assert list(names) == ["0", "1", "1.0"]
    assert names["1"] is model[1]
