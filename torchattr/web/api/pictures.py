"""Taking in pictures: uploads are checked by what they hold, never by their name."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from pathlib import PurePosixPath

from PIL import Image

from torchattr.core.undoing import own_filters
from torchattr.errors import ImageError
from torchattr.models import FORMATS, LoadedModel, decode_image
from torchattr.web.state.limits import Limits
from torchattr.web.state.stored import Shown

LONGEST_NAME = 80


def decode(data: bytes, name: str, limits: Limits) -> Image.Image:
    """Read an uploaded picture as 8-bit RGB, after its kind and its number of pixels.

    Raises:
        ImageError: no picture of a known kind, too many pixels, damaged or truncated.
    """
    width, height = _size(data, name)
    if width * height > limits.pixels:
        raise ImageError(
            f"{name}: has {width:,} × {height:,} pixels, more than {limits.pixels / 1e6:g} million;"
            " make it smaller first"
        )
    return decode_image(io.BytesIO(data), name)


def shown(image: Image.Image, name: str, loaded: LoadedModel) -> tuple[str, Shown]:
    """Prepare a picture for the model, and give it a number made of its pixels."""
    key = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()[:24]
    return key, Shown(name, loaded.preprocess(image))


def plain_name(name: str | None) -> str:
    r"""Give the last part of a file name, without what a display or a header could stumble over.

    >>> plain_name("../../etc/pass\nwd.png"), plain_name("C:\\photos\\cat.jpg"), plain_name("")
    ('pass_wd.png', 'cat.jpg', 'picture')
    """
    last = PurePosixPath((name or "").replace("\\", "/")).name
    return re.sub(r"[^\w .()+-]", "_", last).strip(" .")[-LONGEST_NAME:] or "picture"


def _size(data: bytes, name: str) -> tuple[int, int]:
    if not data:
        raise ImageError(f"{name}: the file is empty")
    try:
        with own_filters():
            # The number of pixels is checked below, against the viewer's own limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: has far too many pixels; make it smaller first") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(
            f"{name}: not a picture that can be read here; known are {', '.join(FORMATS)}"
        ) from error
