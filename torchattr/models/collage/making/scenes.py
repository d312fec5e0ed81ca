"""Compose random scenes of one to three cut-out objects on a photographic background."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from torchattr.models.collage import CLASSES, PixelBox
from torchattr.models.collage.inputs import SIZE

BACKGROUNDS: tuple[str, ...] = (
    "brick",
    "galaxies",
    "grass",
    "gravel",
    "handwriting",
    "lawn",
    "wood",
)
_MOST_OBJECTS = 3
_LARGEST = {1: 0.62, 2: 0.50, 3: 0.40}
_SMALLEST = 0.27
_LONGEST = 0.88
_MOST_HIDDEN = 0.12
_TRIES = 30


@dataclass(frozen=True, eq=False)
class CollageScene:
    """One image and its ground truth.

    `image` is uint8, (H, W, 3). Object `i` is `labels[i]`; its visible pixels are `masks[i]` of
    the bool array (objects, H, W), and `boxes[i]` is the smallest (x0, y0, x1, y1) around them,
    with x1 and y1 exclusive. Later objects cover earlier ones; all labels differ.
    """

    image: NDArray[np.uint8]
    labels: tuple[str, ...]
    boxes: tuple[PixelBox, ...]
    masks: NDArray[np.bool_]


def scenes(count: int, seed: int, size: int = SIZE, start: int = 0) -> Iterator[CollageScene]:
    """Yield scenes `start` ... `start + count - 1` of the endless series of `seed`.

    Example:
        >>> [scene] = scenes(1, seed=7)
        >>> scene.image.shape, len(scene.labels) == len(scene.boxes)
        ((128, 128, 3), True)
    """
    for index in range(start, start + count):
        yield scene(seed, index, size)


def scene(seed: int, index: int, size: int = SIZE) -> CollageScene:
    """Return scene number `index` of the series `seed`, `size` pixels square."""
    random = np.random.default_rng((seed, index))
    wanted = random.integers(1, _MOST_OBJECTS + 1)
    names = random.permutation(CLASSES)[:wanted]
    return compose(random, tuple(str(name) for name in names), size)


def compose(
    random: np.random.Generator,
    names: tuple[str, ...],
    size: int = SIZE,
    background: str | None = None,
) -> CollageScene:
    """Return a random scene of the named objects; one that finds no room is left out."""
    canvas = _background(random, size, background)
    labels: list[str] = []
    masks = np.zeros((0, size, size), dtype=np.bool_)
    for name in names:
        layer = _placed(random, _object(random, name, len(names), size), masks, size)
        if layer is None:
            continue
        canvas.alpha_composite(layer)
        covered = _opaque(layer)
        masks = np.concatenate([masks & ~covered, covered[None]])
        labels.append(name)
    return CollageScene(
        _photographed(random, canvas), tuple(labels), tuple(map(_box, masks)), masks
    )


@cache
def _source(name: str) -> Image.Image:
    with files("torchattr.models.collage").joinpath("sources").joinpath(name).open("rb") as stream:
        return Image.open(stream).convert("RGBA")


def _background(random: np.random.Generator, size: int, name: str | None) -> Image.Image:
    chosen = str(random.choice(BACKGROUNDS)) if name is None else name
    source = _source(f"{chosen}.jpg")
    side = int(source.width * random.uniform(0.5, 1.0))
    x, y = random.integers(0, source.width - side + 1, 2)
    crop = source.crop((int(x), int(y), int(x) + side, int(y) + side))
    return _coloured(random, _flipped(random, crop.resize((size, size), Image.Resampling.BICUBIC)))


def _object(random: np.random.Generator, name: str, crowd: int, size: int) -> Image.Image:
    """Return the object, scaled so that the root of its area is a random share of the side."""
    source = _source(f"{name}.png")
    share = random.uniform(_SMALLEST, _LARGEST[crowd])
    factor = share * size / float(np.sqrt(source.width * source.height))
    factor = min(factor, _LONGEST * size / max(source.size))
    scaled = source.resize(
        (max(1, round(source.width * factor)), max(1, round(source.height * factor))),
        Image.Resampling.LANCZOS,
    )
    turned = _flipped(random, scaled).rotate(
        random.uniform(-10, 10), Image.Resampling.BICUBIC, expand=True
    )
    turned.thumbnail((size, size))
    return _coloured(random, turned)


def _flipped(random: np.random.Generator, image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


def _coloured(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """Jitter brightness, contrast and colour; keep transparency."""
    pixels = np.asarray(image, dtype=np.float32)
    colour = pixels[..., :3]
    gain = random.uniform(0.75, 1.2) * random.uniform(0.88, 1.12, 3)
    contrast = random.uniform(0.8, 1.15)
    grey = colour.mean()
    changed = ((colour - grey) * contrast + grey) * gain.astype(np.float32)
    both = np.concatenate([np.clip(changed, 0, 255), pixels[..., 3:]], axis=-1)
    return Image.fromarray(both.astype(np.uint8))


def _placed(
    random: np.random.Generator, cut: Image.Image, masks: NDArray[np.bool_], size: int
) -> Image.Image | None:
    """Return a layer with the object where it hides little of the others; None if none is found."""
    areas = masks.sum((1, 2))
    for _ in range(_TRIES):
        layer = Image.new("RGBA", (size, size))
        x = int(random.integers(0, size - cut.width + 1))
        y = int(random.integers(0, size - cut.height + 1))
        layer.paste(cut, (x, y))
        hidden = (masks & _opaque(layer)).sum((1, 2))
        if (hidden <= _MOST_HIDDEN * areas).all():
            return layer
    return None


def _opaque(layer: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(layer.getchannel("A")) > 127


def _box(mask: NDArray[np.bool_]) -> PixelBox:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _photographed(random: np.random.Generator, canvas: Image.Image) -> NDArray[np.uint8]:
    """Add a little blur and sensor noise."""
    radius = random.uniform(0.3, 0.8) if random.random() < 0.25 else 0.0
    picture = canvas.convert("RGB").filter(ImageFilter.GaussianBlur(radius))
    pixels = np.asarray(picture, dtype=np.float32)
    noise = random.standard_normal(pixels.shape, dtype=np.float32) * random.uniform(0, 5)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)
