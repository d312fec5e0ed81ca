"""A small embedded multi-label network, honestly trained on collages of eight objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from safetensors.torch import load

from torchattr.models.collage.inputs import Preprocess, preprocess
from torchattr.models.collage.making.scenes import CLASSES, Box, CollageScene
from torchattr.models.collage.net import CollageNet

__all__ = [
    "CLASSES",
    "CollageNet",
    "Example",
    "Preprocess",
    "CollageScene",
    "collage",
    "examples",
    "preprocess",
]


@dataclass(frozen=True)
class Example:
    """An example picture: its file, and the label and box (x0, y0, x1, y1) of every object.

    Boxes count the pixels of the picture itself, which is larger than the network's input.
    """

    path: Path
    labels: tuple[str, ...]
    boxes: tuple[Box, ...]


def collage(weights: bool = True) -> CollageNet:
    """The network in evaluation mode, trained unless `weights` is false.

    It answers with one logit for each of `CLASSES`; several may be positive at once.

    Example:
        >>> from PIL import Image
        >>> collage()(preprocess(Image.open(examples()[0].path))[None]).shape
        torch.Size([1, 8])
    """
    net = CollageNet(len(CLASSES))
    if weights:
        net.load_state_dict(load(files(__package__).joinpath("weights.safetensors").read_bytes()))
    return net.eval()


def examples() -> list[Example]:
    """The pictures that come with the network, none of which it was trained on.

    Example:
        >>> sorted(examples()[0].labels)
        ['astronaut', 'cat']
    """
    with as_file(files(__package__).joinpath("examples")) as folder:
        rows = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
        return [
            Example(folder / row["file"], tuple(row["labels"]), tuple(map(_as_box, row["boxes"])))
            for row in rows
        ]


def _as_box(numbers: list[int]) -> Box:
    x0, y0, x1, y1 = numbers
    return x0, y0, x1, y1
