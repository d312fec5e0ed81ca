from typing import get_args

import numpy as np
import pytest

from torchattr.errors import InputError, InputTypeError
from torchattr.show import (
    CaptionedGrid,
    FigureHead,
    GridCell,
    Legend,
    Look,
    ThemeName,
    draw_panel,
    grid,
)
from torchattr.show.text import TextLine


def luminance(color):
    parts = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", get_args(ThemeName))
def test_texts_are_readable(theme):
    colors = Look(theme).colors
    assert contrast(colors.ink, colors.paper) > 12
    assert contrast(colors.muted, colors.paper) >= 4.5
    assert contrast(colors.accent, colors.paper) >= 3


@pytest.mark.parametrize("theme", get_args(ThemeName))
def test_every_text_of_a_panel_and_of_a_grid_is_readable_on_its_paper(theme):
    look = Look(theme)
    maps, picture = {"grad_cam": np.ones((1, 4, 4))}, np.zeros((8, 8))
    texts = {"title": "a title", "subtitle": "a line", "box": (0, 0, 4, 8)}
    tile = GridCell([np.zeros((8, 8, 3), np.uint8)], (64, 64), ["a caption"])
    legend = Legend(np.zeros((12, 120, 3), np.uint8), ("0", "max"), "what it means")
    drawn = [
        draw_panel(picture, maps, ["cat"], [0.9], view="photo", look=look, **texts),
        FigureHead("net", "cat.png", picture).draw(
            CaptionedGrid([tile]), "a title", ["a fact"], [legend], "a note", look
        ),
    ]
    colors = {one.color for page in drawn for one in page.elements if isinstance(one, TextLine)}
    assert len(colors) >= 2
    assert all(contrast(color, look.colors.paper) >= 4.5 for color in colors)


@pytest.mark.parametrize("fill", [0, 255, (24, 26, 30), (255, 240, 220)])
def test_captions_of_a_bare_grid_are_readable_on_its_background(fill):
    drawn = grid([np.zeros((20, 60, 3), np.uint8)], fill=fill, captions=["MMMM"], padding=0)
    color = (fill, fill, fill) if isinstance(fill, int) else fill
    letters = drawn[20:].reshape(-1, 3).tolist()
    assert max(contrast(letter, color) for letter in letters) >= 4.5


def test_lengths_become_at_least_one_pixel():
    assert [Look(scale=s).pixels(10) for s in (0.1, 1, 2.55)] == [1, 10, 26]
    assert Look(scale=0.1).pixels(1) == 1


@pytest.mark.parametrize("given", [{"theme": "sepia"}, {"scale": 0}, {"scale": 17}])
def test_other_looks_are_refused(given):
    with pytest.raises(InputError, match=f"got {next(iter(given.values()))!r}"):
        Look(**given)


@pytest.mark.parametrize("scale", ["a", None, [], (1, 2)])
def test_a_scale_that_is_no_number_is_named(scale):
    with pytest.raises(InputTypeError, match="scale must be a number"):
        Look(scale=scale)
