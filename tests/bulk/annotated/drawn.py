"""A folder of drawn pictures with boxes, and a network for them."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import nn
from torchvision.transforms._presets import ImageClassification

from torchattr.models import LoadedModel

WIDTH, HEIGHT, CROP = 60, 40, 16
NAMES = ("red", "green", "blue")
COUNT = 10


def box_of(number: int) -> tuple[int, int, int, int]:
    """The box of a picture, which the network sees at least in part."""
    left, top = 12 + 2 * number, 6 + 2 * (number % 5)
    return left, top, left + 14, top + 12


def draw(folder: Path, count: int = COUNT) -> Path:
    """Draw pictures, each with a square of one of three colours, and a table of their boxes."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    lines = ["path,label,x0,y0,x1,y1,width,height"]
    for number in range(count):
        picture = Image.new("RGB", (WIDTH, HEIGHT), (40, 50, 60))
        left, top, right, bottom = box_of(number)
        color = tuple(220 if number % 3 == k else 30 for k in range(3))
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), color)
        picture.save(pictures / f"{number:02d}.png")
        edges = ",".join(map(str, box_of(number)))
        lines.append(f"{number:02d}.png,{NAMES[number % 3]},{edges},{WIDTH},{HEIGHT}")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    return pictures


def network(seed: int = 0) -> LoadedModel:
    torch.manual_seed(seed)
    layers = (nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(*layers, nn.Linear(6, 3)).eval()
    transform = ImageClassification(crop_size=CROP, resize_size=CROP + 4)
    return LoadedModel("colours", model, transform, NAMES, activation="softmax")
