"""Grids of pictures."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from torchattr.core.arguments import check_choice, checked_texts, is_iterable, plain_numbers
from torchattr.core.checked_numbers import checked_count, described
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.show.arrays import as_array, as_floats, as_picture
from torchattr.show.look import LIGHT, RGB, Look, checked_color
from torchattr.show.scaling import image_normalization
from torchattr.show.text import draw_line, line_height, text_lines, wrap

Layout = Literal["auto", "NHWC", "NCHW"]

_CAPTION = 12
_CHANNELS = (1, 3, 4)


def convert_into_grid(
    Xs: Any, padding: int = 1, ubound: float = 255, layout: Layout = "auto"
) -> np.ndarray:
    """Stretch each image over 0..ubound and tile them on a nearly square grid.

    Xs: ``(N, H, W, C)`` or ``(N, C, H, W)`` with 1, 3 or 4 channels. If both fit, a tensor
        is read as NCHW and an array as NHWC, unless ``layout`` says otherwise.
    padding: pixels of zero between two images.

    Returns floats ``(H', W', C)``: ceil(sqrt(N)) columns, row by row, empty cells zero.
    Raises ``ShapeError`` for another shape or no image.

    >>> convert_into_grid(np.arange(12.0).reshape(3, 2, 2, 1)).shape
    (5, 5, 1)
    """
    images = _channels_last(Xs, "Xs", layout)
    if not len(images):
        raise ShapeError("Xs holds no image to lay on a grid")
    padding = checked_padding(padding)
    stretched = image_normalization(images, ubound)
    return _tile(stretched, *rows_and_columns(len(images), None, None), padding, 0.0)


def grid(
    images: Any,
    rows: int | None = None,
    columns: int | None = None,
    padding: int = 4,
    fill: int | tuple[int, int, int] = 255,
    captions: Sequence[str] | None = None,
    layout: Layout = "auto",
) -> np.ndarray:
    """GridCell pictures on a grid, row by row, with optional captions below them.

    images: ``(N, H, W)``, ``(N, H, W, C)``, ``(N, C, H, W)`` or a sequence of pictures, which are
        centred in cells as large as the largest. Integers are 0..255, floats 0..1.
    rows, columns: either, both or neither (nearly square). All images are drawn.
    padding: pixels around each picture.
    fill: background, a grey level or RGB.
    captions: one per image; long ones are wrapped.

    Returns uint8 RGB ``(H', W', 3)``.
    Raises ``ShapeError`` if the images do not fit into ``rows`` × ``columns``, when captions and
    images differ in number, or for wrong shapes; ``InputError`` for values out of range.

    >>> grid(np.zeros((5, 8, 8)), columns=5, padding=1).shape
    (10, 46, 3)
    """
    pictures = _pictures(images, layout)
    captions = None if captions is None else checked_texts(captions, "captions")
    if captions is not None and len(captions) != len(pictures):
        raise ShapeError(f"captions has {len(captions)} entries for {len(pictures)} images")
    padding = checked_padding(padding)
    shape = rows_and_columns(len(pictures), rows, columns)
    color = checked_color(fill, "fill")
    cells = _captioned(pictures, captions, color)
    tiled = _tile(cells, *shape, padding, np.array(color, np.uint8))
    return np.stack(
        [np.pad(tiled[..., c], padding, constant_values=color[c]) for c in range(3)], axis=-1
    )


def checked_padding(padding: Any) -> int:
    """Return a number of pixels; raises ``InputError`` for what is none."""
    number = plain_numbers(padding)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise InputError(f"padding must be a whole number of pixels from 0, got {padding!r}")
    return number


def _pictures(images: Any, layout: Layout) -> list[np.ndarray]:
    if isinstance(images, torch.Tensor | np.ndarray):
        array = as_array(images, "images")
        batch = array if array.ndim == 3 else _channels_last(images, "images", layout)
        listed = [as_picture(one[..., :3], "images") for one in _depth(batch)]
    elif isinstance(images, str) or not is_iterable(images):
        raise InputTypeError(
            "images must be an array or a tensor of pictures, or a sequence of them, got"
            f" {described(images)}"
        )
    else:
        listed = [as_picture(one, f"images[{i}]") for i, one in enumerate(images)]
    if not listed:
        raise ShapeError("images holds no picture to lay on a grid")
    return listed


def _depth(batch: np.ndarray) -> np.ndarray:
    return batch if batch.ndim == 4 else batch[..., None]


def _channels_last(values: Any, name: str, layout: Layout) -> np.ndarray:
    array = as_array(values, name)
    array = array if array.dtype.kind == "u" else as_floats(array, name)
    if array.ndim != 4:
        raise ShapeError(
            f"{name} must have four axes, (N, H, W, C) or (N, C, H, W), got the shape {array.shape}"
        )
    check_choice("layout", layout, ("auto", "NHWC", "NCHW"))
    last, first = array.shape[3] in _CHANNELS, array.shape[1] in _CHANNELS
    if layout == "auto":
        prefer_first = first and (isinstance(values, torch.Tensor) or not last)
        layout = "NCHW" if prefer_first else "NHWC"
    if not (first if layout == "NCHW" else last):
        raise ShapeError(
            f"{name} must have 1, 3 or 4 channels to be shown, got the shape {array.shape}; "
            "to see many channels, make each an image: values.reshape(-1, H, W)"
        )
    return np.moveaxis(array, 1, -1) if layout == "NCHW" else array


def rows_and_columns(count: int, rows: int | None, columns: int | None) -> tuple[int, int]:
    """Return the rows and columns of a grid; raises ``ShapeError`` if they do not fit."""
    for name, number in (("rows", rows), ("columns", columns)):
        if number is not None and checked_count(number, name, least=-sys.maxsize) < 1:
            raise ShapeError(f"{name} must be at least 1, got {number}")
    if columns is None:
        columns = math.ceil(count / rows) if rows else math.ceil(math.sqrt(count))
    rows = rows or math.ceil(count / columns)
    if rows * columns < count:
        raise ShapeError(
            f"{count} images do not fit into rows={rows} × columns={columns}; leave out one"
            " of the two"
        )
    return rows, columns


def _tile(images: Any, rows: int, columns: int, padding: int, fill: Any) -> np.ndarray:
    height, width, channels = images[0].shape
    tall, wide = height + padding, width + padding
    canvas = np.empty((rows * tall - padding, columns * wide - padding, channels), images[0].dtype)
    canvas[:] = fill
    for index, image in enumerate(images):
        top, left = index // columns * tall, index % columns * wide
        canvas[top : top + height, left : left + width] = image
    return canvas


def _captioned(
    pictures: list[np.ndarray], captions: Sequence[str] | None, color: RGB
) -> list[np.ndarray]:
    height, width = (max(p.shape[axis] for p in pictures) for axis in (0, 1))
    texts = [wrap(text, width, _CAPTION) for text in captions or [""] * len(pictures)]
    below = max(map(len, texts)) * line_height(_CAPTION)
    ink = (LIGHT if sum(color) > 380 else Look("dark")).colors.muted
    cells = []
    for picture, lines in zip(pictures, texts, strict=True):
        cell = Image.new("RGB", (width, height + below), color)
        corner = ((width - picture.shape[1]) // 2, (height - picture.shape[0]) // 2)
        cell.paste(Image.fromarray(picture), corner)
        for line in text_lines(lines, (width / 2, height), _CAPTION, ink, "center"):
            draw_line(cell, line)
        cells.append(np.asarray(cell))
    return cells
