"""How pages of pictures look: their colours and the number of their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np

from torchattr.core.arguments import check_choice, plain_numbers
from torchattr.core.checked_numbers import as_number
from torchattr.errors import InputError

RGB: TypeAlias = tuple[int, int, int]
ThemeName = Literal["light", "dark"]

THEMES: tuple[ThemeName, ...] = get_args(ThemeName)

MOST_SCALE = 16


@dataclass(frozen=True)
class Theme:
    """The colours of what is not a picture; texts have a contrast of at least 4.5 to the paper."""

    paper: RGB
    ink: RGB
    muted: RGB
    rule: RGB
    accent: RGB


_THEMES: dict[ThemeName, Theme] = {
    "light": Theme((255, 255, 255), (28, 30, 34), (105, 110, 118), (226, 228, 232), (49, 104, 142)),
    "dark": Theme((24, 26, 30), (232, 234, 238), (160, 166, 175), (58, 62, 70), (96, 165, 205)),
}


@dataclass(frozen=True)
class Look:
    """How a page is drawn.

    theme: dark text on white (``"light"``), or light text on dark grey (``"dark"``).
    scale: pixels per unit of length, of texts and pictures alike; the layout stays the same.

    Raises ``InputError`` for an unknown theme, or a scale that is not in 0.1..16.

    >>> Look("dark", scale=2).theme
    'dark'
    """

    theme: ThemeName = "light"
    scale: float = 1.0

    def __post_init__(self) -> None:
        checked_theme(self.theme)
        if not 0.1 <= as_number(self.scale, "scale") <= MOST_SCALE:
            raise InputError(f"scale must be within 0.1..{MOST_SCALE}, got {self.scale}")

    @property
    def colors(self) -> Theme:
        """The colours of the theme."""
        return _THEMES[self.theme]

    def pixels(self, length: float) -> int:
        """Return a length in pixels, at least one."""
        return max(1, round(length * self.scale))


def checked_theme(name: str) -> ThemeName:
    """Return a theme; raises ``InputError`` for an unknown one."""
    check_choice("theme", name, THEMES)
    return cast(ThemeName, name)


def checked_color(value: Any, name: str) -> RGB:
    """Return a colour, given as such or as a grey level; raises ``InputError`` for what is none.

    >>> checked_color(9, "fill")
    (9, 9, 9)
    """
    levels = plain_numbers(value.tolist() if isinstance(value, np.ndarray) else value)
    channels = list(levels) if isinstance(levels, (tuple, list)) else [levels] * 3
    if len(channels) == 3 and all(type(one) is int and 0 <= one <= 255 for one in channels):
        return channels[0], channels[1], channels[2]
    raise InputError(
        f"{name} must be a grey level, or red, green and blue, whole numbers of 0..255, got"
        f" {value!r}"
    )


LIGHT = Look()
