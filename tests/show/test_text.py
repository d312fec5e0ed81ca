import numpy as np
import pytest
from PIL import Image

from torchattr.show.text import draw_line, fitted, line_height, text_lines, width_of, wrap

TEXTS = ["", "cat", "a rather long class name, with a comma", "features.denseblock4.denselayer16"]


@pytest.mark.parametrize("text", [*TEXTS, "Donaudampfschifffahrtsgesellschaft", "a" * 200])
@pytest.mark.parametrize("width", [40, 100, 1000])
def test_lines_fit_and_nothing_is_left_out(text, width):
    lines = wrap(text, width, 14)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(width_of(line, 14) <= width for line in lines)


def test_lines_break_between_words():
    assert wrap("military uniform", 80, 14) == ["military", "uniform"]
    assert wrap("one  \n two", 1000, 14) == ["one two"]
    assert wrap("up to 0.5 of it", width_of("up to 0.", 14), 14) == ["up to", "0.5 of it"]
    assert wrap("猫の写真", width_of("猫の", 14), 14) == ["猫の", "写真"]


def test_text_is_drawn_below_the_position_in_its_colour():
    canvas = Image.new("RGB", (100, 60), "white")
    for line in text_lines(["Hg", "Hg"], (10, 5), 20, (255, 0, 0)):
        draw_line(canvas, line)
    left, top, right, bottom = canvas.convert("L").point(lambda v: 255 * (v < 200)).getbbox()
    assert 9 <= left < right <= 10 + width_of("Hg", 20)
    assert 5 <= top < bottom <= 5 + 2 * line_height(20)


@pytest.mark.parametrize(("width", "expected"), [(200, 18), (60, 16)])
def test_words_are_made_smaller_until_they_fit(width, expected):
    size, room = fitted(["a military uniform"], width, 18, 12)
    assert (size, room) == (expected, width)
    assert wrap("military uniform", room, size) in (["military uniform"], ["military", "uniform"])


def test_lines_are_widened_for_a_word_that_is_too_long_even_if_small():
    size, room = fitted(["Donaudampfschiff"], 80, 18, 12)
    assert (size, room) == (12, width_of("Donaudampfschiff", 12))
    assert fitted(["a" * 500], 80, 18, 12) == (12, 240)


def test_text_of_several_scripts_lies_on_one_line():
    canvas = Image.new("RGB", (100, 40), "white")
    draw_line(canvas, *text_lines(["x ж x"], (0, 0), 20, (0, 0, 0)))
    assert width_of("x ж x", 20) > width_of("x x", 20)
    dark = np.asarray(canvas.convert("L")) < 120
    bottoms = [np.flatnonzero(dark[:, part].any(1)).max() for part in (slice(0, 9), slice(28, 45))]
    assert bottoms[0] == bottoms[1]
