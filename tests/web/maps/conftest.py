"""A store of maps of a tiny model: six pictures of two classes, of which one is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import torchattr as ta
from torchattr.models import LoadedModel

pytest.importorskip("zarr", "3", reason="stores of maps need Zarr 3, which needs Python 3.11")


def to_tensor(image: Image.Image) -> Tensor:
    values = torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1)
    return values.float() / 255


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    for number in range(6):
        path = folder / "pictures" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 255, (12, 10, 3), np.uint8)
        Image.fromarray(noise).save(path)
    (folder / "pictures" / "dog" / "5.png").write_bytes(b"no picture")
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 2)).eval()
    loaded = LoadedModel("tiny", model, to_tensor, ("cat", "dog"))
    out: Any = folder / "maps.zarr"
    ta.run(
        loaded,
        folder / "pictures",
        ["guided_backprop", "grad_cam"],
        "top2",
        layer="1",
        out=out,
        workers=0,
        watch=lambda progress: None,
    )
    return out


@pytest.fixture
def maps(store: Path) -> ta.Maps:
    return ta.open_maps(store)
