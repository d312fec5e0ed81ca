"""A small bundled multi-label network, trained on collages of eight objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from safetensors.torch import load

from torchattr.models.collage.inputs import Preprocess, preprocess
from torchattr.models.collage.net import CLASSES, CollageNet

__all__ = [
    "CLASSES",
    "CollageNet",
    "Example",
    "Preprocess",
    "collage",
    "examples",
    "preprocess",
]


PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True)
class Example:
    """An example image: its file, and the label and box (x0, y0, x1, y1) of every object.

    Boxes are in pixels of the image file, which is larger than the network's input.
    """

    path: Path
    labels: tuple[str, ...]
    boxes: tuple[PixelBox, ...]


def collage(weights: bool = True) -> CollageNet:
    """Return the network in evaluation mode, trained unless `weights` is false.

    Its output is one logit for each of `CLASSES`; several may be positive.

    Example:
        >>> from PIL import Image
        >>> collage()(preprocess(Image.open(examples()[0].path))[None]).shape
        torch.Size([1, 8])
    """
    net = CollageNet(len(CLASSES))
    if weights:
        net.load_state_dict(load(files(__name__).joinpath("weights.safetensors").read_bytes()))
    return net.eval()


def examples() -> list[Example]:
    """Return the bundled example images, none of which the network was trained on.

    Example:
        >>> sorted(examples()[0].labels)
        ['astronaut', 'cat']
    """
    with as_file(files(__name__).joinpath("examples")) as folder:
        rows = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
        return [
            Example(folder / row["file"], tuple(row["labels"]), tuple(map(_as_box, row["boxes"])))
            for row in rows
        ]


def _as_box(numbers: list[int]) -> PixelBox:
    x0, y0, x1, y1 = numbers
    return x0, y0, x1, y1
