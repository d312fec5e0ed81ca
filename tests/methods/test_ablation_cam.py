"""Ablation-CAM: what follows the layer, run without each channel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from cam_networks import Deep, Pooled, images, seeded
from helpers import refused
from networks import pictures, tokens, vit
from torch import Tensor, nn

import torchattr as ta
from torchattr.methods._cam import ablated


def right(net: nn.Module, layer: str, x: Tensor, target: int, to_grid: Any = None) -> Tensor:
    """Return the maps by a hook that sets one channel after another to 0."""
    module = net.get_submodule(layer)
    values = ta.LayerActivation(net, layer).attribute(x)
    places = torch.arange(values.numel()).view(values.shape)
    grid, places = (to_grid(one) if to_grid else one for one in (values, places))
    with torch.no_grad():
        clean = net(x)[:, target]
        total = torch.zeros_like(grid[:, 0])
        for channel in range(grid.shape[1]):

            def without(module: nn.Module, args: Any, output: Tensor, k: int = channel) -> Tensor:
                changed = output.clone().flatten()
                changed[places[:, k].flatten()] = 0
                return changed.view(output.shape)

            handle = module.register_forward_hook(without)
            weight = (clean - net(x)[:, target]) / clean
            handle.remove()
            total += weight.view(-1, 1, 1) * grid[:, channel]
    return total[:, None]


@pytest.fixture
def whole_forwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count the forwards of the whole model."""
    counted: list[int] = []
    own = ablated._Group._whole

    def counting(group: Any, copies: Tensor, count: int) -> Tensor:
        counted.append(count)
        return own(group, copies, count)

    monkeypatch.setattr(ablated._Group, "_whole", counting)
    return counted


class Skipping(Deep):
    """The layer `body` runs beside what it is added to, in place."""

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        side = self.side(stem)
        side += self.body(stem)
        return self.head(torch.relu_(self.last(side)).amax((2, 3)))


@pytest.mark.parametrize(
    ("network", "layer"),
    [(Pooled, "body"), (Deep, "norm"), (Deep, "stem"), (Skipping, "body"), (Skipping, "side")],
)
def test_only_what_follows_the_layer_runs(
    network: Any, layer: str, whole_forwards: list[int]
) -> None:
    net, x = seeded(network), images(3)
    method = ta.AblationCAM(net, layer)
    for target in (0, 3):
        expected = right(net, layer, x, target)
        torch.testing.assert_close(method.attribute(x, target=target), expected)
    several = method.attribute(x, target=ta.Classes(1, 3), perturbations_per_eval=2)
    torch.testing.assert_close(several[:, 1], expected)
    assert not whole_forwards
    whole = method.attribute(x, target=3, incremental=False)
    torch.testing.assert_close(whole, expected)
    assert whole_forwards


def test_tokens_keep_their_class_token(whole_forwards: list[int]) -> None:
    net, x = vit(1), pictures(2, 3, 8, 12)
    expected = right(net, "blocks.0", x, 1, tokens(4, 6, 1))
    torch.testing.assert_close(ta.AblationCAM(net, "blocks.0").attribute(x, target=1), expected)
    assert not whole_forwards
    late = vit(1, batch_first=False)

    def grid(values: Tensor) -> Tensor:
        return tokens(4, 6, 1)(values.transpose(0, 1))

    expected = right(late, "blocks.0", x, 1, grid)
    torch.testing.assert_close(ta.AblationCAM(late, "blocks.0").attribute(x, target=1), expected)
    assert whole_forwards


def test_images_are_recorded_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = seeded(Deep), images(3)
    expected = ta.AblationCAM(net, "norm").attribute(x, target=[0, 1, 2])
    monkeypatch.setattr(ablated, "MOST_RECORDED", 1)
    torch.testing.assert_close(ta.AblationCAM(net, "norm").attribute(x, target=[0, 1, 2]), expected)


class Changing(Pooled):
    """Its code differs for one image and for several."""

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        stem = stem.abs() if len(x) > 2 else stem.relu()
        return self.head(self.body(stem).mean((2, 3)))


class Twice(Pooled):
    def forward(self, x: Tensor) -> Tensor:
        h = self.body(self.stem(x))
        return self.head((h + self.body[1](h - 1)).mean((2, 3)))


def test_a_model_that_does_not_repeat_itself_runs_whole(whole_forwards: list[int]) -> None:
    net, x = seeded(Changing), images()
    found = ta.AblationCAM(net, "body").attribute(x, target=1)
    torch.testing.assert_close(found, right(net, "body", x, 1))
    assert whole_forwards


def test_each_call_of_a_layer(whole_forwards: list[int]) -> None:
    net, x = seeded(Twice), images()
    each = ta.AblationCAM(net, "body.1", calls="each").attribute(x, target=1)
    whole = ta.AblationCAM(net, "body.1", calls="each")
    assert not whole_forwards
    for one, other in zip(each, whole.attribute(x, target=1, incremental=False), strict=True):
        torch.testing.assert_close(one, other)
    with pytest.warns(ta.LayerReuseWarning):
        last = ta.AblationCAM(net, "body.1").attribute(x, target=1)
    torch.testing.assert_close(last, each[1])


def test_a_score_of_0_has_no_map() -> None:
    net = seeded(Pooled)
    nn.init.zeros_(net.get_submodule("head").weight)
    nn.init.zeros_(net.get_submodule("head").bias)
    assert not ta.AblationCAM(net, "body").attribute(images(), target=1).any()


def test_layers_and_bad_input() -> None:
    net, x = seeded(Deep), images()
    found = ta.AblationCAM(net, ["norm", "stem"]).attribute(x, 1, relu_attributions=True)
    torch.testing.assert_close(found["norm"], right(net, "norm", x, 1).relu())

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x * 2, x * 3

    class Several(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(sum(self.pair(x)))

    with refused(ta.LayerError, "returns 2", "inside"):
        ta.AblationCAM(seeded(Several), "pair").attribute(x, 1)
    with refused(ta.TorchattrError, "one row", "AblationCAM"):
        ta.AblationCAM(lambda images: net(images).sum(0), net.get_submodule("norm")).attribute(x)
    with refused(TypeError, "incremental", "'auto'"):
        ta.AblationCAM(net, "norm").attribute(x, 1, incremental="auto")  # type: ignore[arg-type]
