import numpy as np
import pytest
from PIL import Image

from torchattr.show import fonts
from torchattr.show.fonts import font, runs_of
from torchattr.show.text import draw_line, text_lines, width_of, wrap


@pytest.fixture
def only_bundled_fonts(monkeypatch):
    """As on a machine without fonts of its own."""
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())
    fonts._source_of.cache_clear()
    yield
    fonts._source_of.cache_clear()


def names(text):
    return [(piece, one.getname()[0]) for piece, one in runs_of(text, 16)]


def test_the_typeface_comes_with_pillow():
    assert font(20).getname() == ("Aileron", "Regular")
    assert names("a plain text, 3 %") == [("a plain text, 3 %", "Aileron")]


def test_letters_that_the_built_in_typeface_lacks_are_drawn():
    def drawn(text):
        canvas = Image.new("RGB", (40, 20), "white")
        draw_line(canvas, *text_lines([text], (2, 0), 16, (0, 0, 0)))
        return np.asarray(canvas).tobytes()

    pictures = {drawn(letter) for letter in ("×", "é", "ж", "→")}
    assert len(pictures) == 4, "two letters look alike: they are boxes"


def test_words_share_a_font_and_signs_do_not_change_it():
    assert names("жук cat") == [("жук cat", "DejaVu Sans")]
    assert names("−max") == [("−", "DejaVu Sans"), ("max", "Aileron")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("猫", r"\u732b"),
        ("cat 猫", r"cat \u732b"),
        ("\U0001f9ff", r"\U0001f9ff"),
        ("a\ue000\x07", r"a\ue000\u0007"),
        ("\ud800", r"\ud800"),
    ],
)
def test_letters_that_no_font_has_are_written_as_codes(text, shown, only_bundled_fonts):
    assert "".join(piece for piece, _ in runs_of(text, 16)) == shown
    assert width_of(text, 16) == width_of(shown, 16)
    assert wrap(text, 1000, 16) == [text]


def test_fonts_of_the_machine_are_asked_only_for_letters_that_the_others_lack(monkeypatch):
    asked = []
    monkeypatch.setattr(fonts, "_system_fonts", lambda: asked.append(1) or ())
    fonts._source_of.cache_clear()
    runs_of("Grad-CAM é ж", 16)
    assert not asked
    runs_of("猫", 16)
    assert asked
    fonts._source_of.cache_clear()


def test_a_damaged_font_is_passed_over(monkeypatch, tmp_path):
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setattr(fonts, "_system_fonts", lambda: (str(broken),))
    fonts._source_of.cache_clear()
    assert runs_of("猫", 16)[0][0] == r"\u732b"
    fonts._source_of.cache_clear()


def test_fonts_without_shapes_are_not_used(monkeypatch):
    files = ["/f/LastResort.otf", "/f/B-Bold.ttf", "/f/A-Regular.ttf", "/f/AdobeBlank.otf"]
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: files)
    assert fonts._system_fonts.__wrapped__() == ("/f/A-Regular.ttf", "/f/B-Bold.ttf")
