"""Fonts of text on pictures: the built-in one, and others for the letters that it lacks."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from PIL import ImageFont

BUILT_IN = ""
"""The source of Pillow's built-in font, which has no file."""

_NOT_LETTERS = ("Cc", "Cn", "Co", "Cs")
_WITHOUT_SHAPES = ("lastresort", "blank")


@cache
def font(size: float) -> ImageFont.FreeTypeFont:
    """Return Pillow's built-in font, so that pictures look the same on every machine."""
    made = ImageFont.load_default(size)
    if not isinstance(made, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, which torchattr.show needs for text")
    return made


def runs_of(text: str, size: float) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    r"""Return a text in pieces, each with a font that has all of its letters.

    The built-in font covers little more than English; letters that it lacks are taken from
    Matplotlib's DejaVu Sans, then from the fonts of this machine. A letter that none of them has is
    written as its code, such as ``\u732b``, and never as an empty box.
    """
    return [(piece, opened) for piece, _, opened in sources_of(text, size)]


def sources_of(text: str, size: float) -> list[tuple[str, str, ImageFont.FreeTypeFont]]:
    """Return the same with the file of each font, or ``BUILT_IN``."""
    shown = "".join(_written(letter) for letter in unicodedata.normalize("NFC", text))
    return [(piece, source, _opened(source, size)) for piece, source in _pieces(shown)]


def built_in_content() -> bytes:
    """Return the file of Pillow's built-in font."""
    return bytes(font(12).font_bytes)


def is_system_font(source: str) -> bool:
    """Whether a font is one of this machine, which other machines may lack."""
    return source not in (BUILT_IN, _dejavu())


def _pieces(text: str) -> list[tuple[str, str]]:
    """Return the pieces of a text and their fonts; the words share one if a font has them all."""
    words = {letter for letter in text if letter.isalpha()}
    sources = [_source_of(letter) or BUILT_IN for letter in text]
    candidates = dict.fromkeys((BUILT_IN, _dejavu(), *sources))
    shared = next((one for one in candidates if all(_has(one, letter) for letter in words)), None)
    found: list[tuple[str, str]] = []
    for letter, own in zip(text, sources, strict=True):
        source = shared if shared is not None and _has(shared, letter) else own
        if found and (letter.isspace() or source == found[-1][1]):
            found[-1] = (found[-1][0] + letter, found[-1][1])
        else:
            found.append((letter, source))
    return found


def _written(letter: str) -> str:
    if _source_of(letter) is not None:
        return letter
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@cache
def _source_of(letter: str) -> str | None:
    """Return the first font that has a letter; None if no font has it."""
    if unicodedata.category(letter) in _NOT_LETTERS and not letter.isspace():
        return None
    return next((one for one in _sources() if _has(one, letter)), None)


def _sources() -> Iterator[str]:
    yield BUILT_IN
    yield _dejavu()
    yield from _system_fonts()


@cache
def _dejavu() -> str:
    # Importing Matplotlib takes a third of a second, and only its file is needed.
    found = find_spec("matplotlib")
    folder = Path((found and found.origin) or ".").parent
    file = folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return str(file) if file.is_file() else BUILT_IN


@cache
def _system_fonts() -> tuple[str, ...]:
    """Return the font files of this machine, upright ones of normal weight first."""
    from matplotlib.font_manager import findSystemFonts

    names = {file: Path(file).name.lower() for file in findSystemFonts()}
    usable = [file for file, name in names.items() if not any(w in name for w in _WITHOUT_SHAPES)]
    return tuple(sorted(usable, key=lambda file: ("regular" not in names[file], names[file], file)))


@lru_cache(maxsize=64)
def _opened(source: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(source, size) if source else font(size)


@cache
def _has(source: str, letter: str) -> bool:
    return letter.isspace() or _glyph(source, letter) not in (None, _missing_glyph(source))


@cache
def _missing_glyph(source: str) -> bytes | None:
    return _glyph(source, "\U0010ffff")


def _glyph(source: str, letter: str) -> bytes | None:
    try:
        # A mask is a sequence of grey levels, which Pillow's stub does not know.
        return bytes(cast("Iterable[int]", _opened(source, 16).getmask(letter)))
    except OSError:  # A font of bitmaps, or a damaged file.
        return None
