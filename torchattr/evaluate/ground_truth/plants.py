"""The cases of planted truth: pictures, a network built by hand, and what decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchattr.core.gradient_mode import gradients
from torchattr.evaluate.ground_truth.asked_pictures import AskedPictures
from torchattr.evaluate.ground_truth.planted_networks import (
    CELL,
    SIDE,
    TokenNetwork,
    cancelling_network,
    channel_network,
    checks,
    colour_network,
    saturated_network,
    stamp_network,
    stripes,
)

DECIDING = 1
"""The class that is explained."""

NOISE = 0.1
"""How far grey pixels are from the middle, at most."""


@dataclass(frozen=True)
class Plant:
    """A case of planted truth.

    Attributes:
        name: as in tables.
        what: what decides, and what does not, as a sentence.
        network: makes the network.
        draw: makes pictures `(N, 3, 32, 32)`, and what decides: bools of that shape, or with one
            channel where only the place counts.
    """

    name: str
    what: str
    network: Callable[[], nn.Module]
    draw: Callable[[int, torch.Generator], tuple[Tensor, Tensor]]

    def pictures(self, n: int, seed: int) -> tuple[AskedPictures, Tensor]:
        """Return pictures of class 1 for the network, and what decides."""
        inputs, truth = self.draw(n, torch.Generator().manual_seed(seed))
        targets = torch.full((n,), DECIDING)
        # In inference mode, its parameters could not be set.
        with gradients():
            network = self.network()
        return AskedPictures(network, inputs, targets), truth


def _grey(n: int, generator: torch.Generator) -> Tensor:
    noise = torch.rand(n, 3, SIDE, SIDE, generator=generator) - 0.5
    return 0.5 + 2 * NOISE * noise


def _put(pictures: Tensor, pattern: Tensor, row: int, column: int, cells: int = 2) -> None:
    """Draw a pattern into a square of cells, in full contrast."""
    side = cells * CELL
    there = pictures[..., row * CELL : row * CELL + side, column * CELL : column * CELL + side]
    there.copy_((1 + pattern.repeat(1, cells, cells)) / 2)


def _corner(n: int) -> Tensor:
    truth = torch.zeros(n, 1, SIDE, SIDE, dtype=torch.bool)
    truth[..., : 2 * CELL, : 2 * CELL] = True
    return truth


def _stamped(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    pictures = _grey(n, generator)
    _put(pictures, checks(), 0, 0)
    return pictures, _corner(n)


def _with_stripes(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    pictures, truth = _stamped(n, generator)
    _put(pictures, stripes(), 4, 3, cells=3)
    return pictures, truth


def _with_another_stamp(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    pictures, truth = _with_stripes(n, generator)
    _put(pictures, checks(), 0, 6)
    return pictures, truth


def _coloured(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a red, a green and a blue square of equal size, each in a quarter of its own."""
    pictures = _grey(n, generator)
    truth = torch.zeros(n, 1, SIDE, SIDE, dtype=torch.bool)
    for one, mask in zip(pictures, truth, strict=True):
        quarters = torch.randperm(4, generator=generator)[:3].tolist()
        for color, quarter in enumerate(quarters):
            top, left = (
                side * SIDE // 2 + int(torch.randint(1, SIDE // 4, (), generator=generator))
                for side in divmod(quarter, 2)
            )
            square = one[:, top : top + 2 * CELL, left : left + 2 * CELL]
            square.zero_()
            square[color] = 1.0
            if color == 0:
                mask[:, top : top + 2 * CELL, left : left + 2 * CELL] = True
    return pictures, truth


def _in_channels(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    truth = torch.zeros(n, 3, SIDE, SIDE, dtype=torch.bool)
    truth[:, 0] = True
    return torch.rand(n, 3, SIDE, SIDE, generator=generator), truth


PLANTS: Mapping[str, Plant] = {
    one.name: one
    for one in (
        Plant(
            "stamp",
            "A stamp in the upper left corner decides; all else is grey noise.",
            stamp_network,
            _stamped,
        ),
        Plant(
            "distractor",
            "The stamp decides in that corner only; the same stamp in another corner, and stripes"
            " that the network sees best, do not matter.",
            stamp_network,
            _with_another_stamp,
        ),
        Plant(
            "cancelled",
            "The stamp decides; what the network sees of stripes is added and subtracted again.",
            cancelling_network,
            _with_stripes,
        ),
        Plant(
            "saturated",
            "The stamp decides, but a quarter of it would be enough, so that the score is flat.",
            saturated_network,
            _stamped,
        ),
        Plant(
            "colour",
            "The red square decides; a green and a blue one of the same shape do not matter.",
            colour_network,
            _coloured,
        ),
        Plant(
            "channel",
            "The red channel decides, everywhere; the others do not matter.",
            channel_network,
            _in_channels,
        ),
        Plant(
            "token",
            "The stamp decides, wherever it is: a transformer attends to it and reads it.",
            lambda: TokenNetwork(0, is_used=True).eval(),
            _with_stripes,
        ),
        Plant(
            "bystander",
            "The stamp decides; a transformer attends to the stripes, but ignores what they bring.",
            lambda: TokenNetwork(1, is_used=False).eval(),
            _with_stripes,
        ),
    )
}
"""By name."""
