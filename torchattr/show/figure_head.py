"""What a figure is about: the model and the picture, which head it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from torchattr.show.arrays import as_picture
from torchattr.show.drawing import Drawing
from torchattr.show.legends import Legend
from torchattr.show.look import Look
from torchattr.show.page import Body, Given, Page

_THUMBNAIL = 256
_LONGEST = 448


@dataclass(frozen=True, eq=False)
class FigureHead:
    """What a figure is about; each part may be missing.

    model: the model's name. picture: the name of the picture. image: the picture itself; see
    ``as_picture``.
    """

    model: str = ""
    picture: str = ""
    image: Any = None
    # Many figures share one head, and shrinking a large photograph takes longer than the rest.
    _thumbnails: dict[float, Given] = field(default_factory=dict, init=False, repr=False)

    def draw(
        self,
        body: Body,
        title: str,
        facts: Sequence[str],
        legends: list[Legend],
        note: str,
        look: Look,
    ) -> Drawing:
        """Draw a figure of the model and the picture, with the latter beside it.

        facts: what is shown and how it is sorted, for the line below the title.
        """
        named = (self.model and f"model: {self.model}", self.picture and f"picture: {self.picture}")
        subtitle = " · ".join(part for part in (*named, *facts) if part)
        return Page(body, legends, note, title, subtitle, self._given(look), look).draw()

    def _given(self, look: Look) -> Given | None:
        if self.image is None:
            return None
        if look.scale not in self._thumbnails:
            self._thumbnails[look.scale] = self._thumbnail(look)
        return self._thumbnails[look.scale]

    def _thumbnail(self, look: Look) -> Given:
        picture = Image.fromarray(as_picture(self.image))
        width, height = size = _thumbnail_size(*picture.size)
        pixels = look.pixels(width), look.pixels(height)
        return Given("Input", np.asarray(picture.resize(pixels, Image.Resampling.LANCZOS)), size)


NO_HEAD = FigureHead()


def _thumbnail_size(width: int, height: int) -> tuple[int, int]:
    """Return the size of a picture in units: the same area for each form."""
    factor = min(_THUMBNAIL / math.sqrt(width * height), _LONGEST / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))
