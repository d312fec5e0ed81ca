from __future__ import annotations

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputTypeError, LayerReuseWarning
from torchattr.inspect import Start

X = noise(2, 3, 21, 18)


def make() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 5, stride=2, padding=2, dilation=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 10, 3, padding="same"),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(90, 4),
    ).double()


MODEL = seeded(make)


def deconvnet(model: nn.Sequential, x: Tensor, signal_of: str) -> Tensor:
    """The deconvnet of layer 9, step by step: unpool, rectify, transpose."""
    a1 = F.relu(model[0](x))
    p1, switches1 = F.max_pool2d(a1, 2, return_indices=True)
    a2 = F.relu(model[3](p1))
    a3 = F.relu(model[5](a2))
    p3, switches3 = F.max_pool2d(a3, 3, 2, 1, return_indices=True)
    top = F.relu(model[8](p3))
    maps = []
    for channel in range(10):
        signal = torch.zeros_like(top)
        signal[:, channel] = top[:, channel]
        if signal_of == "max":
            flat = signal[:, channel].flatten(1)
            signal[:, channel] = torch.where(flat == flat.amax(1, True), flat, 0).view_as(p3[:, 0])
        down = F.conv_transpose2d(F.relu(signal), model[8].weight, padding=1)
        down = unpool(down, switches3, a3)
        down = F.conv_transpose2d(F.relu(down), model[5].weight, padding=2, dilation=2, groups=2)
        lost = [(p1.shape[d] - 1) % 2 for d in (2, 3)]
        down = F.conv_transpose2d(
            F.relu(down), model[3].weight, stride=2, padding=2, output_padding=lost
        )
        down = unpool(down, switches1, a1)
        maps.append(F.conv_transpose2d(F.relu(down), model[0].weight, padding=1))
    return torch.stack(maps, 1)


def unpool(down: Tensor, switches: Tensor, like: Tensor) -> Tensor:
    """Return each value to the position that won; overlapping windows add up."""
    flat = torch.zeros_like(like).flatten(2)
    flat = flat.scatter_add(2, switches.flatten(2), down.flatten(2))
    return flat.view_as(like)


@pytest.mark.parametrize("start", ["map", "max"])
@torch.no_grad()
def test_deconvolution_is_the_literal_deconvnet(start: str) -> None:
    found = ta.back_project(MODEL, X, "9", start=start)
    assert_same(found.pictures, deconvnet(MODEL, X, start), 1e-12)


def test_gradient_of_the_maximum_is_autograd() -> None:
    found = ta.back_project(MODEL, X, "8", rule="gradient", start="max")
    leaf = X.clone().requires_grad_()
    values = MODEL[:9](leaf).flatten(2)
    for channel in range(10):
        best = values[:, channel].max(1).values
        (grad,) = torch.autograd.grad((best**2).sum() / 2, leaf, retain_graph=True)
        assert_same(found.pictures[:, channel], grad, 1e-12)
        assert_same(found.activations[:, channel], best.detach())


def test_gradient_of_the_map_is_autograd() -> None:
    found = ta.back_project(MODEL, X, "8", 3, rule="gradient", start="map")
    leaf = X.clone().requires_grad_()
    values = MODEL[:9](leaf)[:, 3]
    (grad,) = torch.autograd.grad((values**2).sum() / 2, leaf)
    assert_same(found.pictures[:, 0], grad, 1e-12)
    assert found.positions is None
    assert_same(found.activations[:, 0], values.detach().flatten(1).max(1).values)


@pytest.mark.parametrize("place", [(0, 0), (2, 2), (1, 0), (-1, 1)])
@pytest.mark.parametrize(
    ("rule", "peer"),
    [
        ("deconvolution", captum.attr.NeuronDeconvolution),
        ("guided", captum.attr.NeuronGuidedBackprop),
    ],
)
@pytest.mark.filterwarnings("ignore:Setting (backward|forward)", "ignore:Input Tensor 0")
def test_a_place_is_captums_times_the_activation(
    rule: str, peer: type, place: tuple[int, int]
) -> None:
    found = ta.back_project(MODEL, X, MODEL[9], [1, 4], start=place, rule=rule)
    plain = seeded(make)
    top = MODEL[:10](X).detach()
    for number, channel in enumerate((1, 4)):
        row, column = (p % 3 for p in place)
        theirs = peer(plain, plain[9]).attribute(X, neuron_selector=(channel, row, column))
        activation = top[:, channel, row, column]
        expected = theirs * activation[:, None, None, None]
        assert torch.allclose(found.pictures[:, number], expected.detach(), rtol=0, atol=1e-13)
        assert torch.equal(found.activations[:, number], activation)
        assert found.positions[:, number].tolist() == [[row, column]] * 2
    assert found.pictures.any()


def test_maps_are_chosen() -> None:
    whole = ta.back_project(MODEL, X, "9")
    one = ta.back_project(MODEL, X, "9", -1)
    assert torch.equal(one.pictures[:, 0], whole.pictures[:, 9])
    assert one.channels.tolist() == [[9], [9]]
    best = ta.back_project(MODEL, X, "9", "top3")
    assert torch.equal(best.activations, whole.activations.topk(3).values)
    for example in range(2):
        chosen = whole.pictures[example, best.channels[example]]
        assert torch.equal(best.pictures[example], chosen)
    ranged = ta.back_project(MODEL, X, "9", range(2, 4))
    assert torch.equal(ranged.pictures, whole.pictures[:, 2:4])


def test_strongest_whole_maps_are_those_of_the_largest_mean() -> None:
    best = ta.back_project(MODEL, X, "9", "top2", start="map")
    means = MODEL[:10](X).detach().flatten(2).mean(2)
    assert torch.equal(best.channels, means.topk(2).indices)


@pytest.mark.parametrize("start", ["max", "map", (1, 2)])
def test_the_chunk_changes_nothing(start: Start) -> None:
    one = ta.back_project(MODEL, X, "9", start=start)
    assert_same(ta.back_project(MODEL, X, "9", start=start, chunk=4).pictures, one.pictures, 1e-13)


def test_further_arguments_and_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3).double()
            self.relu = nn.ReLU()

        def forward(self, x: Tensor, y: Tensor, factor: Tensor, plus: float) -> Tensor:
            return self.relu(self.conv(x) * factor[:, :, None, None] + y * plus)

    model = seeded(Two)
    inputs = (noise(2, 3, 6, 6), noise(2, 4, 4, 4, seed=2))
    arguments = (torch.tensor([[2.0], [3.0]]).double(), 0.5)
    one, three = (
        ta.back_project(model, inputs, "relu", additional_forward_args=arguments, chunk=chunk)
        for chunk in (1, 3)
    )
    assert one.pictures[0].shape == (2, 4, 3, 6, 6)
    assert one.pictures[1].shape == (2, 4, 4, 4, 4)
    for mine, theirs in zip(one.pictures, three.pictures, strict=True):
        assert_same(mine, theirs, 1e-13)


@pytest.mark.parametrize(("dims", "conv"), [(1, nn.Conv1d), (3, nn.Conv3d)])
def test_other_dimensions(dims: int, conv: type[nn.Module]) -> None:
    model = seeded(lambda: nn.Sequential(conv(2, 3, 3), nn.ReLU(), conv(3, 2, 3, 2), nn.ReLU()))
    model.double()
    x = noise(2, 2, *(9,) * dims)
    found = ta.back_project(model, x, "2", rule="gradient")
    leaf = x.clone().requires_grad_()
    best = model[:3](leaf).flatten(2).max(2).values
    (grad,) = torch.autograd.grad((best[:, 1] ** 2).sum() / 2, leaf)
    assert_same(found.pictures[:, 1], grad, 1e-12)
    assert found.positions.shape == (2, 2, dims)


def test_a_layer_that_is_called_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1).double()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.conv(self.relu(self.conv(x))))

    model, x = seeded(Twice), noise(1, 3, 5, 5)
    first, last = (ta.back_project(model, x, "relu", calls=calls) for calls in ("first", "last"))
    each = ta.back_project(model, x, "relu", calls="each")
    assert [torch.equal(a.pictures, b.pictures) for a, b in zip(each, (first, last), strict=True)]
    assert not torch.equal(first.pictures, last.pictures)
    with pytest.warns(LayerReuseWarning, match="called 2 times"):
        ta.back_project(model, x, "relu")
    with refused(ta.InputError, "calls='sum'", "each"):
        ta.back_project(model, x, "relu", calls="sum")


def test_what_cannot_be_projected_is_refused() -> None:
    with refused(ta.InputError, "channel 10", "0 to 9"):
        ta.back_project(MODEL, X, "9", [0, 10])
    with refused(ta.InputError, "top10"):
        ta.back_project(MODEL, X, "9", "top11")
    with refused(ta.InputError, "empty"):
        ta.back_project(MODEL, X, "9", [])
    with refused(InputTypeError, "channels must be", "1.5"):
        ta.back_project(MODEL, X, "9", [1.5])
    with refused(ta.ShapeError, "(3, 0)", "(3, 3)"):
        ta.back_project(MODEL, X, "9", start=(3, 0))
    with refused(ta.ShapeError, "2 integers"):
        ta.back_project(MODEL, X, "9", start=(1,))
    with refused(ta.InputError, "start must be", "'min'"):
        ta.back_project(MODEL, X, "9", start="min")
    with refused(ta.InputError, "rule must be", "'lrp'"):
        ta.back_project(MODEL, X, "9", rule="lrp")
    with refused(ta.InputError, "chunk"):
        ta.back_project(MODEL, X, "9", chunk=0)
    with refused(ta.LayerError, "(2, 4)", "no feature maps"):
        ta.back_project(MODEL, X, "11")
    with refused(ta.LayerError, "no layer '99'"):
        ta.back_project(MODEL, X, "99")
    with refused(ta.LayerError, "one layer"):
        ta.back_project(MODEL, X, "[0-3]")


def test_a_model_without_rectifiers_is_refused_unless_told() -> None:
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 3)))
    x = noise(1, 3, 8, 8, dtype=torch.float32)
    with refused(ta.NoRuleMatched, "gelu"):
        ta.back_project(model, x, "2")
    found = ta.back_project(model, x, "2", rules={"gelu": "deconvolution"})
    plain = ta.back_project(model, x, "2", rule="gradient")
    assert not torch.equal(found.pictures, plain.pictures)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_nothing_of_the_model_or_the_input_changes(mode: type) -> None:
    model, x = seeded(make), X.clone()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with mode():
        found = ta.back_project(model, x, "9", 0)
    assert torch.equal(x, X)
    assert not x.requires_grad
    assert not found.pictures.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
