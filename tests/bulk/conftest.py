"""A tiny model, a data set of tensors, a folder of pictures, and runs over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import torchattr as ta
from torchattr.bulk import Pictures
from torchattr.errors import ImageError
from torchattr.models import LoadedModel


class Tensors(Pictures):
    """Pictures that their numbers determine; those of `broken` cannot be read."""

    def __init__(self, count: int = 10, broken: Sequence[int] = (), unlabelled: int = -1) -> None:
        self.count, self.broken, self.unlabelled = count, broken, unlabelled

    def ids(self) -> list[str]:
        return [f"{number:05d}" for number in range(self.count)]

    def read(self, position: int) -> Tensor:
        if position in self.broken:
            raise ImageError(f"{position} is broken")
        return torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(position))

    def label(self, position: int) -> int | None:
        return None if position == self.unlabelled else position % 3


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3)).eval()


@pytest.fixture
def tensors() -> type[Tensors]:
    return Tensors


@pytest.fixture
def model() -> nn.Sequential:
    return tiny()


@pytest.fixture
def loaded() -> LoadedModel:
    return LoadedModel("tiny", tiny(), to_tensor, ("a", "b", "c"))


def to_tensor(image: Image.Image) -> Tensor:
    values = torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1)
    return values.float() / 255


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures of two classes, of which one is damaged."""
    for number in range(6):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 255, (12, 10, 3), np.uint8)
        Image.fromarray(noise).save(path)
    (tmp_path / "pictures" / "b" / "5.png").write_bytes(b"no picture")
    return tmp_path / "pictures"


@pytest.fixture
def run_here(tmp_path: Path) -> Callable[..., Any]:
    """Run the tiny model, quietly and in this process."""

    def run(data: Any, methods: Any = "guided_backprop", out: str = "maps.zarr", **options: Any):
        quiet = {"workers": 0, "watch": lambda progress: None}
        options = {"model": tiny(), "layer": "1", **quiet, **options}
        return ta.run(options.pop("model"), data, methods, out=tmp_path / out, **options)

    return run
