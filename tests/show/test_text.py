import numpy as np
import pytest
from PIL import Image

from torchattr.show.text import draw_lines, font, font_of, line_height, width_of, wrap

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


def test_text_is_drawn_below_the_position_in_its_colour():
    canvas = Image.new("RGB", (100, 60), "white")
    draw_lines(canvas, ["Hg", "Hg"], (10, 5), 20, (255, 0, 0))
    left, top, right, bottom = canvas.convert("L").point(lambda v: 255 * (v < 200)).getbbox()
    assert 9 <= left < right <= 10 + width_of("Hg", 20)
    assert 5 <= top < bottom <= 5 + 2 * line_height(20)


def test_the_typeface_comes_with_pillow():
    assert font(20).getname() == ("Aileron", "Regular")


def test_letters_that_the_built_in_typeface_lacks_are_drawn():
    def drawn(text):
        canvas = Image.new("RGB", (40, 20), "white")
        draw_lines(canvas, [text], (2, 0), 16)
        return np.asarray(canvas).tobytes()

    pictures = {drawn(letter) for letter in ("×", "é", "ж", "→")}
    assert len(pictures) == 4, "two letters look alike: they are boxes"
    assert font_of("plain", 16) is font(16)
