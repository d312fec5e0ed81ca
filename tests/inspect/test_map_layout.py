"""Layers that are not (N, C, h, w): results equal those of permutations by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import Part, assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import LayerError
from torchattr.inspect import list_layers
from torchattr.inspect.maximisation.objectives import Goal
from torchattr.inspect.spatial_calls import spatial_calls

X = noise(2, 3, 8, 12)
"""Pictures that are not square: 4 × 6 patches of two pixels."""


class Same(nn.Module):
    """The identity, which gives a value a layer name."""

    def forward(self, x: Any) -> Any:
        return x


class Net(nn.Module):
    """Patches of two pixels; subclasses define the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, 2)
        self.norm = nn.LayerNorm(8)
        self.mix = nn.Linear(8, 8)
        self.named = Same()
        self.head = nn.Linear(8, 3)
        self.double()


class ChannelsLast(Net):
    """Windows of 2 × 2 patches that are shifted and attend to each other, as in Swin."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.patches(x).permute(0, 2, 3, 1)
        z = torch.roll(self.norm(y), (-1, -1), (1, 2))
        z = z.view(-1, 2, 2, 3, 2, 8).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 8)
        z = F.scaled_dot_product_attention(z, z, z)
        z = z.view(-1, 2, 3, 2, 2, 8).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 6, 8)
        y = self.named(y + F.relu(self.mix(torch.roll(z, (1, 1), (1, 2)))))
        return self.head(y.mean((1, 2)))


class Tokens(Net):
    """Patches behind a class token that attend to each other, as in a ViT."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(noise(1, 1, 8))
        self.weights, self.heads, self.folded = Same(), Same(), Same()

    def forward(self, x: Tensor) -> Tensor:
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = self.norm(torch.cat([self.token.expand(len(x), -1, -1), y], 1))
        heads = self.heads(y.view(len(x), -1, 2, 4).transpose(1, 2))
        weights = self.weights((heads @ heads.transpose(2, 3)).softmax(3))
        mixed = self.folded((weights @ heads).flatten(0, 1)).view(len(x), 2, -1, 4)
        y = self.named(y + F.relu(self.mix(mixed.transpose(1, 2).flatten(2))))
        return self.head(y[:, 0] + y[:, 1:].mean(1))


class SequenceFirst(Net):
    """Tokens as `(L, N, C)`, as PyTorch's own transformers take them."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.patches(x).flatten(2).permute(2, 0, 1))
        return self.head(self.named(y + F.relu(self.mix(y))).mean(0))


@dataclass
class Given:
    picture: Tensor
    note: str


class InDict(Net):
    """A layer that returns a dict with one channels-last tensor among other values."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.patches(x).permute(0, 2, 3, 1))
        y = self.named({"out": y + F.relu(self.mix(y)), "note": "x"})["out"]
        return self.head(y.mean((1, 2)))


class InDataclass(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.patches(x).permute(0, 2, 3, 1))
        y = self.named(Given(y + F.relu(self.mix(y)), "x")).picture
        return self.head(y.mean((1, 2)))


def last(values: Tensor) -> Tensor:
    return values.permute(0, 3, 1, 2)


NETS: dict[str, tuple[type[Net], Callable[[Any], Tensor]]] = {
    "channels last": (ChannelsLast, last),
    "tokens": (Tokens, lambda v: v[:, 1:].transpose(1, 2).reshape(len(v), 8, 4, 6)),
    "sequence first": (SequenceFirst, lambda v: v.permute(1, 2, 0).reshape(-1, 8, 4, 6)),
    "dict": (InDict, lambda v: last(v["out"])),
    "dataclass": (InDataclass, lambda v: last(v.picture)),
}

each_net = pytest.mark.parametrize("name", NETS)


def by_hand(name: str, x: Tensor, layer: str = "named") -> tuple[Net, Tensor, Tensor, Any]:
    """Return a network, its scores, and a layer's values as a grid and unchanged."""
    kind, to_grid = NETS[name]
    model, seen = seeded(kind).eval(), []
    hook = model.get_submodule(layer).register_forward_hook(lambda *given: seen.append(given[2]))
    scores = model(x)
    hook.remove()
    return model, scores, to_grid(seen[0]), seen[0]


def tensor_of(raw: Any) -> Tensor:
    if isinstance(raw, Tensor):
        return raw
    return raw["out"] if isinstance(raw, dict) else raw.picture


@each_net
def test_feature_maps_are_grids_and_tensors_stay_as_they_are(name: str) -> None:
    model, _, grid, raw = by_hand(name, X)
    found = ta.feature_maps(model, X, "named")
    assert_same(found.as_maps("named"), grid.detach(), 1e-12)
    if isinstance(raw, Tensor):
        assert_same(found["named"], raw.detach(), 1e-12)
    order = grid[1].flatten(1).amax(1).argsort(descending=True).tolist()
    assert found.strongest("named", image=1) == order
    whole = ta.inspect.FeatureMaps({"named": (grid.detach(),)})
    for options in ({"image": 1}, {"top": 3}, {"channels": [5, 2]}):
        assert found.picture("named", **options) == whole.picture("named", **options)
    assert [caption for caption, _ in found._shown()] == ["named: 8 of 8 maps, the strongest first"]
    assert spatial_calls(model, X, "named") == {"named": torch.Size([8, 4, 6])}


@each_net
def test_operations_have_a_layout_too(name: str) -> None:
    model = seeded(NETS[name][0]).eval()
    found = ta.feature_maps(model, X, "r")
    with torch.no_grad():
        _, to_grid = NETS["channels last" if name.startswith("d") else name]
        assert_same(found.as_maps("relu"), to_grid(found["relu"]))
    assert spatial_calls(model, X, "r") == {"relu": torch.Size([8, 4, 6])}


@each_net
@pytest.mark.parametrize("start", ["max", (1, 4)])
def test_back_projections_start_at_places_of_the_grid(name: str, start: Any) -> None:
    leaf = X.clone().requires_grad_()
    model, _, grid, _ = by_hand(name, leaf)
    found = ta.back_project(model, X, "named", 3, start, "gradient")
    place = grid[:, 3].flatten(1).argmax(1) if start == "max" else torch.tensor([10, 10])
    values = grid[:, 3].flatten(1).gather(1, place[:, None])
    (expected,) = torch.autograd.grad(values.square().sum() / 2, leaf)
    assert_same(found.pictures[:, 0], expected, 1e-10)
    assert_same(found.activations, values.detach(), 1e-12)
    assert found.positions[:, 0].tolist() == [[int(p) // 6, int(p) % 6] for p in place]
    chunks = ta.back_project(model, X, "named", [3, 1, 2], start, "gradient", chunk=2)
    assert_same(chunks.pictures[:, 0], expected, 1e-10)
    assert ta.BackProjector(model, X, "named", ["gradient"]).shape == (2, 8, 4, 6)


@each_net
def test_maps_of_layers(name: str) -> None:
    x = X.clone().requires_grad_()
    model, scores, _, raw = by_hand(name, x)
    tensor, to_grid = tensor_of(raw), NETS["channels last" if name.startswith("d") else name][1]
    (gradient,) = torch.autograd.grad(scores[:, 1].sum(), tensor)
    values, gradient = to_grid(tensor.detach()), to_grid(gradient)
    expected = (gradient.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True).relu()
    found = ta.layer_by_layer(model, X, ["named", "patches"], target=1)
    assert list(found) == ["patches", "named"]
    assert_same(found["named"], expected, 1e-10)
    assert found.picture().mode == "RGB"
    if tensor is not raw:
        with refused(LayerError, "choose a layer inside it"):
            ta.layer_by_layer(model, X, "named", "guided_grad_cam", target=1)
        return
    guided = ta.layer_by_layer(model, X, "named", "guided_grad_cam", target=1)["named"]
    pure = ta.GuidedBackprop(model).attribute(X, target=1)
    enlarged = F.interpolate(expected, (8, 12), mode="bilinear", align_corners=False)
    assert_same(guided, pure * enlarged, 1e-10)


@each_net
def test_the_strongest_places_of_a_data_set(name: str) -> None:
    images = noise(5, 3, 8, 12, seed=3)
    with torch.no_grad():
        model, _, grid, _ = by_hand(name, images)
    found = ta.top_patches(model, images, "named", 2, k=3, rule="gradient", batch_size=2)
    best = grid[:, 2].flatten(1).max(1)
    order = best.values.argsort(descending=True)[:3].tolist()
    assert [patch.index for patch in found] == order
    for patch in found:
        place = int(best.indices[patch.index])
        assert patch.position == (place // 6, place % 6)
        assert patch.activation == pytest.approx(best.values[patch.index].item())


def test_receptive_fields_of_patches_windows_and_everything() -> None:
    own = (slice(4, 6), slice(8, 10))
    for name in NETS:
        model = seeded(NETS[name][0]).eval()
        reached = ta.receptive_field(model, X, "norm", (2, 4))
        assert reached == own, name
        if name in ("sequence first", "dict", "dataclass"):
            assert ta.receptive_field(model, X, "named", (2, 4)) == own
    # Shifted by one patch, (2, 4) is in the window of the rows 1 and 2 and the columns 3 and 4.
    windows = ta.receptive_field(seeded(ChannelsLast).eval(), X, "named", (2, 4))
    assert windows == (slice(2, 6), slice(6, 10))
    everything = ta.receptive_field(seeded(Tokens).eval(), X, "named", (2, 4))
    assert everything == (slice(0, 8), slice(0, 12))


@each_net
def test_objectives_measure_channels_of_the_grid(name: str) -> None:
    model, _, grid, raw = by_hand(name, X)
    for channel in (0, 5, -1):
        goal = Goal(model, ("named", channel), None)
        assert_same(goal.measure(goal.trace(X, ()), X), grid[:, channel].mean((1, 2)), 1e-12)
    goal = Goal(model, "named", None)
    value = tensor_of(raw)
    rows = value.transpose(0, 1) if name == "sequence first" else value
    assert_same(goal.measure(goal.trace(X, ()), X), rows.flatten(1).square().mean(1), 1e-12)
    with refused(ta.InputError, "channel 8"):
        ta.maximise(model, ("named", 8), X, steps=1)


CALLS: dict[str, Callable[[nn.Module, str], Any]] = {
    "picture": lambda model, layer: ta.feature_maps(model, X, layer).picture(layer),
    "strongest": lambda model, layer: ta.feature_maps(model, X, layer).strongest(layer),
    "layer by layer": lambda model, layer: ta.layer_by_layer(model, X, layer, target=1),
    "top patches": lambda model, layer: ta.top_patches(model, X, layer, 0),
    "receptive field": lambda model, layer: ta.receptive_field(model, X, layer, (1, 1)),
    "back projection": lambda model, layer: ta.back_project(model, X, layer, 0),
    "places": lambda model, layer: spatial_calls(model, X, layer),
    "channel": lambda model, layer: ta.maximise(model, (layer, 0), X, steps=1),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("layer", ["weights", "heads", "folded"])
def test_attention_is_no_picture(layer: str, call: str) -> None:
    model = seeded(Tokens).eval()
    with refused(LayerError, "choose another layer"):
        CALLS[call](model, layer)
    raw = ta.feature_maps(model, X, layer)
    assert isinstance(raw[layer], Tensor)
    assert not list(raw._shown())


def heads_of_a_sequence(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2).view(len(x), -1, 2, 4).transpose(1, 2)


ODD: dict[str, Callable[[Tensor], Any]] = {
    "sparse": lambda y: y.to_sparse(),
    "compressed": lambda y: y.mean((2, 3)).to_sparse_csr(),
    "detached and sparse": lambda y: y.detach().to_sparse(),
    "jagged": lambda y: torch.nested.as_nested_tensor([y[0, 0], y[1, 0, :3]], layout=torch.jagged),
    "nested": lambda y: torch.nested.as_nested_tensor([y[0, 0], y[1, 0, :3]]),
    "heads": heads_of_a_sequence,
    "a pair in a dict": lambda y: {"low": y, "high": y + 1},
    "a pair in a dataclass": lambda y: Given(y, y.mean()),  # type: ignore[arg-type]
    "frames": lambda y: y.reshape(4, 4, 4, 6),
    "half of the batch": lambda y: y[:1],
    "no tensor": lambda y: "nothing",
}


class Odd(Net):
    """A layer with an unusual output, which the scores do not depend on."""

    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.odd, self.made = Part(made), made

    def forward(self, x: Tensor) -> Tensor:
        y = self.patches(x).relu()
        self.odd(y)
        return self.head(y.mean((2, 3)))


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning", "ignore:The PyTorch API of nested")
@pytest.mark.parametrize("kind", ODD)
def test_odd_values_are_refused_and_harm_no_other_layer(kind: str) -> None:
    model = Odd(ODD[kind]).eval()
    for name, call in CALLS.items():
        with refused(LayerError, "choose"):
            call(model, "odd")
            pytest.fail(name)
    assert list(ta.layer_by_layer(model, X, "*", target=1)) == ["patches"]
    assert list(spatial_calls(model, X, ["[op]*"])) == ["patches"]
    rows = {row.name: row for row in list_layers(model, X)}
    assert rows["patches"].maps == (8, 4, 6)
    assert rows["odd"].maps is None
    assert rows["odd"].why


def test_layers_are_listed_with_their_maps() -> None:
    for name, (kind, _) in NETS.items():
        rows = {row.name: row for row in list_layers(seeded(kind).eval(), X)}
        assert rows["named"].maps == rows["patches"].maps == (8, 4, 6), name
        assert not rows["named"].why
        assert rows["head"].maps is None
        assert "no spatial dimensions" in rows["head"].why
    rows = {row.name: row for row in list_layers(seeded(Tokens).eval(), X)}
    assert [rows[one].maps for one in ("weights", "heads", "folded")] == [None] * 3
    assert rows["named"].shape == (2, 25, 8)


def test_channels_that_come_before_the_batch() -> None:
    class Swapped(Net):
        def forward(self, x: Tensor) -> Tensor:
            y = self.named(self.patches(x).transpose(0, 1))
            return self.head(y.mean((2, 3)).T)

    model = seeded(Swapped).eval()
    found = ta.feature_maps(model, X, ["patches", "named"])
    assert_same(found.as_maps("named"), found["patches"])
    assert_same(found["named"].transpose(0, 1), found["patches"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("swin_t", {"features.1.0.norm1": last, "features.7.1": last, "norm": last}),
        (
            "vit_b_16",
            {
                "encoder.layers.encoder_layer_3": lambda v: v[:, 1:].mT.unflatten(2, (-1, 14)),
                "encoder.ln": lambda v: v[:, 1:].mT.unflatten(2, (-1, 14)),
            },
        ),
    ],
)
def test_transformers_of_torchvision(name: str, layers: dict[str, Any]) -> None:
    import torchvision

    model = seeded(lambda: torchvision.models.get_model(name)).eval()
    x = noise(1, 3, 224, 224, dtype=torch.float32)
    found = ta.feature_maps(model, x, list(layers))
    for layer, to_grid in layers.items():
        assert_same(found.as_maps(layer), to_grid(found[layer]))
        channels, *places = spatial_calls(model, x, layer)[layer]
        assert found.as_maps(layer).shape[1:] == (channels, *places)
        one = ta.back_project(model, x, layer, 1, (2, 3), "gradient")
        assert_same(one.activations[:, 0], to_grid(found[layer])[:, 1, 2, 3])
    rows = {row.name: row for row in list_layers(model, x)}
    first, scores = {"swin_t": ("features.0", "head"), "vit_b_16": ("conv_proj", "heads")}[name]
    assert rows[first].maps
    assert rows[scores].maps is None
