from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers import refused, seeded
from torch import Tensor, nn

import torchattr as ta


def support(model: nn.Module, shape: tuple[int, ...], position: tuple[int, ...]) -> list[slice]:
    """Whether each input position affects the output position, found by changing it."""
    base = model(torch.zeros(shape))[(0, slice(None), *position)]
    changed = torch.zeros(shape[2:], dtype=torch.bool)
    for place in changed.nonzero().new_ones(shape[2:]).nonzero().tolist():
        x = torch.zeros(shape)
        x[(0, slice(None), *place)] = 1e3
        changed[tuple(place)] = bool((model(x)[(0, slice(None), *position)] != base).any())
    found = []
    for d in range(changed.dim()):
        line = changed.movedim(d, 0).flatten(1).any(1).nonzero()
        found.append(slice(int(line[0]), int(line[-1]) + 1))
    return found


def positive(model: nn.Module) -> nn.Module:
    """Make all weights positive, so that no changes of the input cancel."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.abs() + 0.1)
    return model


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Conv2d(2, 3, 1)
        self.wide = nn.Conv2d(2, 3, 3, padding=4, dilation=4)
        self.down = nn.Conv2d(3, 2, (3, 2), stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.small(x) + self.wide(x)))


class Last(nn.Sequential):
    """Runs in channels-last layout."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "stride": lambda: nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.ReLU(), nn.Conv2d(3, 2, 3, 1, 1)),
    "max_pool": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    "avg_pool": lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.AvgPool2d(2, ceil_mode=True)),
    "adaptive": lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.AdaptiveMaxPool2d(4)),
    "adaptive_avg": lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.AdaptiveAvgPool2d(4)),
    "same": lambda: nn.Sequential(nn.Conv2d(2, 3, (4, 3), padding="same"), nn.Dropout(0.5)),
    "valid": lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding="valid"), nn.BatchNorm2d(3)),
    "transposed": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, 2), nn.ConvTranspose2d(3, 2, 3, 2, 1, output_padding=1), nn.ReLU()
    ),
    "groups": lambda: nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(4, 2, 3, dilation=2)),
    "layer norm": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, 2), Last(nn.LayerNorm(3), nn.Linear(3, 3)), nn.Conv2d(3, 2, 2)
    ),
    "norm over places": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, 2), nn.LayerNorm([3, 5, 4]), nn.Conv2d(3, 2, 2)
    ),
    "group norm": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, 2), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 2)
    ),
    "instance norm": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, 2), nn.InstanceNorm2d(4), nn.Conv2d(4, 2, 2)
    ),
    "branches": Branches,
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("position", [(0, 0), (1, 2)])
@torch.no_grad()
def test_the_receptive_field_is_what_changes_the_place(name: str, position: tuple) -> None:
    model = positive(seeded(MODELS[name]))
    shape = (1, 2, 11, 9)
    last = list(dict(model.named_children()))[-1]
    found = ta.receptive_field(model, torch.zeros(shape), last, position)
    assert list(found) == support(model, shape, position)


def test_a_closed_rectifier_hides_nothing() -> None:
    model = seeded(lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 3)))
    with torch.no_grad():
        model[0].bias.fill_(-100)
        model[2].weight[0, 0, 0] = 0
    found = ta.receptive_field(model, torch.zeros(1, 1, 9, 9), "2", (2, 1))
    assert found == (slice(2, 7), slice(1, 6))


def test_what_has_no_receptive_field_is_refused() -> None:
    model = seeded(lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 2)))
    x = torch.zeros(1, 1, 4, 4)
    with refused(ta.LayerError, "no feature maps"):
        ta.receptive_field(model, x, "2", (0,))
    with refused(ta.ShapeError, "(2, 0)"):
        ta.receptive_field(model, x, "0", (2, 0))
