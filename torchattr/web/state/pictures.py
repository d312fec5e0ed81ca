"""Decoding uploaded pictures, which are identified by their content, never by their name."""

from __future__ import annotations

import hashlib
import io
import warnings

from PIL import Image

from torchattr.core.undoing import own_filters
from torchattr.errors import ImageError
from torchattr.models import FORMATS, LoadedModel, decode_image
from torchattr.web.state.limits import Limits
from torchattr.web.state.stored import StoredPicture


def decode(data: bytes, name: str, limits: Limits) -> Image.Image:
    """Decode an uploaded picture to 8-bit RGB, after a check of its format and number of pixels.

    Raises:
        ImageError: the format is not supported, the picture has too many pixels, or the file is
            damaged or truncated.
    """
    width, height = _size(data, name)
    if width * height > limits.pixels:
        raise ImageError(
            f"{name}: {width:,} × {height:,} pixels exceed the limit of {limits.pixels / 1e6:g}"
            " million; resize the picture first"
        )
    return decode_image(io.BytesIO(data), name)


def stored_picture(image: Image.Image, name: str, loaded: LoadedModel) -> tuple[str, StoredPicture]:
    """Preprocess a picture for the model; return it with an id computed from its pixels."""
    key = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()[:24]
    return key, StoredPicture(name, loaded.preprocess(image))


def _size(data: bytes, name: str) -> tuple[int, int]:
    if not data:
        raise ImageError(f"{name}: the file is empty")
    try:
        with own_filters():
            # `decode` checks the number of pixels against the viewer's own limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: too many pixels; resize the picture first") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(
            f"{name}: not a supported picture format; supported: {', '.join(FORMATS)}"
        ) from error
