"""PDF and SVG: read back by other means than they were written with."""

import base64
import io
import re
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import get_data_path
from PIL import Image

from torchattr.show import Drawing, Look, fonts

TEXT = "a <b> & $x$ ж"


def page(scale=1.0, text=TEXT):
    drawing = Drawing(192, 96, Look("dark", scale))
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    drawing.place(pixels, (10, 10, 40, 40), smooth=False)
    drawing.fill((60, 10, 10, 4), (255, 0, 0))
    drawing.write([text], (96, 60), 16, align="center")
    return drawing


def elements(svg, kind):
    return list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}" + kind))


def streams(pdf):
    """Return the decompressed streams of a PDF."""
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return [zlib.decompress(one) for one in found if one[:1] == b"x"]


def content(pdf):
    """Return the instructions of the page."""
    return next(one for one in streams(pdf) if b" re" in one or b"BT" in one)


def test_svg_keeps_texts_and_pixels():
    svg = page().encoded("svg")
    (text,) = elements(svg, "text")
    assert text.text == TEXT
    assert (text.get("text-anchor"), text.get("x"), text.get("font-size")) == ("middle", "96", "16")
    (image,) = elements(svg, "image")
    data = base64.b64decode(image.get("href").partition(",")[2])
    with Image.open(io.BytesIO(data)) as opened:
        # Enlarged by a whole factor: viewers would blur the four pixels.
        assert opened.size == (40, 40)
        assert np.array_equal(np.asarray(opened)[::20, ::20], page().elements[0].pixels)
    paper, bar = elements(svg, "rect")
    assert paper.get("fill") == "#181a1e"
    assert bar.get("fill") == "#ff0000"


def test_svg_brings_its_font():
    assert b"url(data:font/ttf;base64," in page().encoded("svg")


def test_letters_without_a_font_are_codes_in_both(monkeypatch):
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())
    fonts._source_of.cache_clear()
    (text,) = elements(page(text="猫\x1b").encoded("svg"), "text")
    assert text.text == r"\u732b\u001b"
    assert page(text="猫").encoded("pdf")
    fonts._source_of.cache_clear()


@pytest.mark.parametrize(
    ("dpi", "scale", "inches"), [(None, 1, 2), (None, 3, 2), (300, 1, 0.64), (300, 3, 1.92)]
)
def test_the_size_in_print_follows_from_the_resolution(dpi, scale, inches):
    svg = ElementTree.fromstring(page(scale).encoded("svg", dpi))
    assert float(svg.get("width").removesuffix("in")) == pytest.approx(inches)
    box = re.search(rb"/MediaBox \[ ?([^]]*)\]", page(scale).encoded("pdf", dpi))[1]
    assert [float(one) for one in box.split()] == pytest.approx(
        [0, 0, 72 * inches, 36 * inches], abs=0.1
    )


def test_pdf_keeps_texts_as_texts_and_embeds_their_fonts():
    assert b"Aileron" in page(text="a <b>").encoded("pdf")
    pdf = page().encoded("pdf")
    assert b"DejaVu" in pdf
    # Writing a text, and no outline of a letter: a curve.
    assert b"Tj" in content(pdf) or b"TJ" in content(pdf)
    assert not re.search(rb" c\n", content(pdf))
    assert page().encoded("pdf") == pdf


def test_letters_of_the_machines_fonts_are_outlines(monkeypatch, tmp_path):
    own = tmp_path / "Own-Regular.ttf"
    own.write_bytes(Path(get_data_path(), "fonts/ttf/STIXGeneral.ttf").read_bytes())
    monkeypatch.setattr(fonts, "_system_fonts", lambda: (str(own),))
    fonts._source_of.cache_clear()
    letter = "\u29b6"
    assert fonts._source_of(letter) == str(own)
    pdf = page(text=letter).encoded("pdf")
    assert re.search(rb" c\n", content(pdf))
    assert b"STIX" not in pdf
    fonts._source_of.cache_clear()
