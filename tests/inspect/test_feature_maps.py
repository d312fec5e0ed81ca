"""Feature maps are tensors first, and pictures that leave nothing out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, LayerError
from torchattr.show import Drawing, FigureHead
from torchattr.show.elements import Raster
from torchattr.show.text import TextLine


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        x = self.conv(self.conv(x).relu_()) * scale
        return self.head(x.mean((2, 3)))


class Odd(nn.Module):
    """Layers whose outputs are not maps: a pair, a dictionary, and `None`."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.named = Named()
        self.nothing = Nothing()

    def forward(self, x: Tensor) -> Tensor:
        self.nothing(x)
        return self.named(self.pair(x)[1])["x"]


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + 1, x - 1


class Named(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"x": x}


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> None:
        return None


X = noise(2, 3, 6, 6, dtype=torch.float32)


def maps(layers: Any = ("conv", "relu", "head")) -> Any:
    return ta.feature_maps(seeded(Twice), X, list(layers))


def test_every_call_of_a_layer_is_kept() -> None:
    model, found = seeded(Twice), maps()
    once = model.conv(X).detach()
    assert_same(found["conv"][0], once)
    assert_same(found["conv#2"], model.conv(once.relu()).detach())
    assert_same(found["relu"], once.relu())
    assert list(found) == ["conv", "relu", "head"]
    assert len(found) == 3
    assert repr(found) == "FeatureMaps(conv (2, 3, 6, 6) ×2, relu (2, 3, 6, 6), head (2, 4))"


def test_the_repr_of_many_layers_is_short() -> None:
    maps = ta.inspect.FeatureMaps({f"layer{i}": (torch.ones(1, 2, 3, 3),) for i in range(40)})
    assert repr(maps).endswith("layer5 (1, 2, 3, 3), ... (40 in all))")
    assert len(repr(maps)) < 200


def test_values_have_no_graph_and_the_model_is_as_it_was() -> None:
    model = seeded(Twice)
    found = ta.feature_maps(model, X, "conv")
    assert not any(values.requires_grad for values in found["conv"])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.conv._forward_hooks


def test_further_arguments_reach_the_model() -> None:
    model = seeded(Twice)
    doubled = ta.feature_maps(model, X, "head", additional_forward_args=2.0)["head"]
    assert_same(doubled, model(X, 2.0).detach())


def test_an_unknown_layer_is_answered_with_the_closest() -> None:
    with refused(LayerError, "'convs'", "did you mean 'conv'"):
        maps()["convs"]
    with refused(LayerError, "'conv#3'"):
        maps()["conv#3"]


def test_a_layer_may_give_several_tensors_but_not_none() -> None:
    found = ta.feature_maps(Odd(), X, "pair")
    assert_same(found["pair"][1], X - 1)
    with refused(LayerError, "'pair' returned [(2, 3, 6, 6), (2, 3, 6, 6)]", "no maps"):
        found.picture("pair")
    named = ta.feature_maps(Odd(), X, "named")
    assert_same(named["named"]["x"], X - 1)
    assert_same(named.as_maps("named"), X - 1)
    with refused(LayerError, "'nothing' returns no tensor"):
        ta.feature_maps(Odd(), X, "nothing")


def test_the_strongest_channels() -> None:
    values = torch.tensor([[[0.0, 9.0]], [[5.0, 5.0]], [[1.0, 2.0]]])[None]
    found = ta.inspect.FeatureMaps({"a": (values,)})
    assert found.strongest("a") == [0, 1, 2]
    assert found.strongest("a", 2, by="mean") == [1, 0]
    for k in (0, 4):
        with refused(InputError, "within 1..3", f"got {k}"):
            found.strongest("a", k)
    with refused(InputError, "by must be one of", "'sum'"):
        found.strongest("a", by="sum")  # type: ignore[arg-type]


def test_a_picture_holds_all_maps_or_those_asked_for() -> None:
    values = torch.arange(30.0).reshape(1, 30, 1, 1).expand(1, 30, 2, 2)
    found = ta.inspect.FeatureMaps({"a": (values,)})
    whole = grey(found.draw("a", shared=True, columns=30, cmap="gray"))
    assert [round(level / 255 * 29) for level in whole] == list(range(30))
    few = grey(found.draw("a", channels=[28, 29], shared=True, columns=2, cmap="gray"))
    assert few == [round(28 / 29 * 255), 255]
    top = grey(found.draw("a", top=2, shared=True, columns=2, cmap="gray"))
    assert top == few[::-1]


def test_a_grid_says_what_it_shows_and_how_it_is_sorted() -> None:
    values = torch.arange(30.0).reshape(1, 30, 1, 1).expand(1, 30, 4, 5)
    found = ta.inspect.FeatureMaps({"a": (values,)})
    head = FigureHead("lite0", "cat.jpg", torch.zeros(3, 8, 8))

    def texts(**options: Any) -> list[str]:
        drawn = found.draw("a", head=head, **options).elements
        return [one.text for one in drawn if isinstance(one, TextLine)]

    assert texts()[:3] == [
        "Feature maps of a",
        "model: lite0 · picture: cat.jpg · all 30 maps of 4 × 5",
        "Input",
    ]
    most = texts(top=2, by="mean")
    assert most[1].endswith("2 of 30 maps of 4 × 5 · the largest mean first")
    assert most[3:5] == ["channel 29 · max 29", "channel 28 · max 28"]
    assert found.picture("a").width > 6 * 192


def grey(drawn: Drawing) -> list[int]:
    """Return the grey level in the upper left corner of each map."""
    maps = [one for one in drawn.elements if isinstance(one, Raster) and not one.smooth]
    return [int(one.pixels[0, 0, 0]) for one in maps]


def test_scales_are_of_each_map_or_shared() -> None:
    values = torch.tensor([[[1.0, 0.0]], [[4.0, 0.0]]])[None]
    found = ta.inspect.FeatureMaps({"a": (values,)})
    own, shared = (
        grey(found.draw("a", shared=one, channels=[0, 1], columns=2, cmap="gray"))
        for one in (False, True)
    )
    assert own == [255, 255]
    assert shared == [64, 255]


@pytest.mark.parametrize("shape", [(1, 2, 5), (1, 2, 4, 5), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_sequences_images_and_volumes_are_drawn(shape: Any, dtype: torch.dtype) -> None:
    found = ta.inspect.FeatureMaps({"a": (noise(*shape).to(dtype),)})
    assert found.picture("a").mode == "RGB"


@pytest.mark.parametrize(
    ("layer", "options", "error", "words"),
    [
        ("head", {}, LayerError, ("'head' returns one value per channel",)),
        ("conv", {}, LayerError, ("called 2 times", "call=1 to call=2")),
        ("conv", {"call": 3}, InputError, ("call must be within 1..2", "got 3")),
        ("relu", {"image": 2}, InputError, ("image must be within 0..1", "got 2")),
        ("relu", {"channels": [3]}, InputError, ("channels must be within 0..2", "got 3")),
        ("relu", {"channels": []}, InputError, ("channels is empty", "all 3")),
        ("relu", {"top": 1, "channels": [0]}, InputError, ("top and channels",)),
        ("relu", {"cell": 0}, InputError, ("cell must be within",)),
        ("relu", {"columns": 0}, InputError, ("columns must be at least 1",)),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    layer: str, options: Any, error: type[Exception], words: Any
) -> None:
    with refused(error, *words):
        maps().picture(layer, **options)


def test_an_empty_batch_has_maps_but_no_picture() -> None:
    found = ta.feature_maps(seeded(Twice), X[:0], "r")
    assert found["relu"].shape == (0, 3, 6, 6)
    with refused(InputError, "there are none"):
        found.picture("relu")
