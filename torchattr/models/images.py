"""Find and read image files."""

from __future__ import annotations

import glob
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from torchattr.core.paths import expanded
from torchattr.core.registry import suggest
from torchattr.core.undoing import own_filters
from torchattr.errors import ImageError
from torchattr.models.bundled import bundled
from torchattr.models.depth import grey_levels

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""File suffixes of images when a folder is searched."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Formats that are read, by Pillow's names; others are never tried: some decoders run programs."""

# Pillow's decoders raise all of these on broken data.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError)
# Warning filters are global, so two threads must not change them at once.
_FILTERS = threading.Lock()


def read_image(path: str | Path) -> Image.Image:
    """Read an image as 8-bit RGB, upright.

    EXIF orientation is applied; transparent pixels are composited on white; palettes, grey, CMYK
    and deeper images are converted. 16 bits are divided by 257; values that would be nearly black
    (12 bits in a 16-bit file) or are not grey levels (a computed tomography) are rescaled, with a
    ``BrightnessWarning``; see ``torchattr.models.grey_levels``.

    Raises ``ImageError`` naming the file and the reason: missing, not of a format in ``FORMATS``,
    truncated, NaN, or more pixels than Pillow's ``Image.MAX_IMAGE_PIXELS`` (a decompression bomb).

    >>> from torchattr.models.collage import examples
    >>> read_image(examples()[0].path).mode
    'RGB'
    """
    path = expanded(path, ImageError)
    if not path.is_file():
        raise ImageError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    return decode_image(path, str(path))


def example(name: str) -> Image.Image:
    """Return a bundled picture, as 8-bit RGB.

    name: of a photograph, which models of ImageNet's classes know: ``"cat"``, ``"coffee"``,
        ``"rocket"``, ``"camera"``; or of a collage for the model ``"demo"``: ``"astronaut_cat"``,
        ``"astronaut_cat_coffee"``, ``"photographer_horse"``, ``"rocket_shuttle_astronaut"``.

    No licence restricts their use.

    Raises ``ImageError`` for any other name.

    >>> example("cat").size
    (451, 300)
    """
    known = bundled()
    if name not in known:
        raise ImageError(f"there is no bundled picture {name!r}; {suggest(str(name), known)}")
    return read_image(known[name])


def decode_image(file: Path | BinaryIO, name: str, formats: Sequence[str] = FORMATS) -> Image.Image:
    """Read an open image file like ``read_image``; errors refer to it as ``name``.

    formats: the formats that are tried, by Pillow's names.
    """
    with reading(name, formats), _open(file, formats) as image:
        deep = any(";16" in str(tile[3]) for tile in image.tile)
        image.load()
        _check_depth(image, deep, name)
        return as_rgb(image, name)


def as_rgb(image: Image.Image, name: str) -> Image.Image:
    """Return an image that something else opened as ``read_image`` does.

    name: what errors call it.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F" or upright.mode.startswith("I"):
        return Image.fromarray(grey_levels(np.asarray(upright), name)).convert("RGB")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return upright.convert("RGB")


@contextmanager
def reading(name: str, formats: Sequence[str] = FORMATS) -> Iterator[None]:
    """Raise ``ImageError``, with the reason, for what decoders raise on broken data.

    name: what errors call the image; formats: those that are tried.
    """
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        count = re.search(r"\d+(?= pixels)", str(error))
        most = Image.MAX_IMAGE_PIXELS or 0
        raise ImageError(
            f"{name}: refused as a possible decompression bomb, since it has"
            f" {int(count[0]) if count else most + 1:,} pixels, more than {most:,}; make the"
            " picture smaller, or raise PIL.Image.MAX_IMAGE_PIXELS in Python if you trust it"
        ) from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: not a picture in a supported format ({', '.join(formats)})"
        ) from error
    except _BROKEN as error:
        raise ImageError(f"{name}: damaged or truncated ({error})") from error


def find_images(paths: Iterable[str | Path] | str | Path) -> list[Path]:
    """List the images that files, folders and glob patterns refer to, in a stable order.

    Files keep the given order, whatever their suffix. A folder yields the images directly in it
    (see ``SUFFIXES``) and a pattern its matches, both in natural order (``2`` before ``10``);
    ``**`` searches subfolders. Where there is no file or folder of that name, the name of a bundled
    picture is its file; see ``torchattr.example``. Nothing is listed twice.

    Raises ``ImageError`` for a path, folder or pattern without images.

    >>> from torchattr.models.collage import examples
    >>> [path.name for path in find_images(examples()[0].path.parent / "*cat.jpg")]
    ['astronaut_cat.jpg']
    """
    items = [paths] if isinstance(paths, str | Path) else list(paths)
    if not items:
        raise ImageError("paths is empty: pass at least one file, folder or glob pattern")
    return list(dict.fromkeys(found for item in items for found in _find(_expanded(item))))


def _open(file: Path | BinaryIO, formats: Sequence[str]) -> Image.Image:
    with _FILTERS, own_filters():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file, formats=tuple(formats))


def _expanded(item: str | Path) -> Path:
    if not str(item):
        raise ImageError("paths contains an empty string; use '.' for the current folder")
    return expanded(item, ImageError)


def _find(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        return _in_folder(path)
    if not glob.has_magic(str(path)):
        return [_bundled(str(path))]
    matches = (Path(match) for match in glob.glob(str(path), recursive=True))
    found = [m for m in matches if m.is_file() and m.suffix.lower() in SUFFIXES]
    if not found:
        raise ImageError(f"{path}: the pattern matches no picture")
    return sorted(found, key=_natural)


def _bundled(name: str) -> Path:
    known = bundled()
    if re.match(r"(https?|ftp|s3|gs):/", name):
        raise ImageError(f"{name}: nothing is read from the network; pass a downloaded file")
    if name not in known:
        meant = "" if Path(name).suffix else f", and no bundled picture; {suggest(name, known)}"
        raise ImageError(f"{name}: no such file or folder{meant}")
    return known[name]


def _in_folder(folder: Path) -> list[Path]:
    found = [p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES]
    if not found:
        raise ImageError(
            f"{folder}: no picture directly in this folder ({', '.join(SUFFIXES)}); "
            f"to search subfolders, use the pattern {folder / '**' / '*.jpg'}"
        )
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|\D+", str(path))
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p.casefold()) for p in parts]


def _check_depth(image: Image.Image, deep: bool, name: str) -> None:
    """Refuse 16-bit colours that Pillow, which keeps the upper 8 bits, would turn nearly black."""
    if not deep or image.mode not in ("RGB", "RGBA", "LA"):
        return
    colours = len(image.getbands()) - (image.mode[-1] == "A")
    most = np.asarray(image)[..., :colours].max()
    if 0 < most < 16:
        raise ImageError(
            f"{name}: the colours use fewer than 16 bits of a 16-bit file and would be nearly"
            " black; save the image with 8 bits"
        )
