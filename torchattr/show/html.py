"""Pictures as self-contained HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from PIL import Image

from torchattr.errors import InputError, LayerError
from torchattr.show.arrays import as_picture


def image_tag(picture: Any, alt: str = "") -> str:
    """Return a picture as an `<img>` tag with its pixels embedded losslessly.

    picture: see ``as_picture``. alt: what it shows, in words; escaped here.

    >>> image_tag(Image.new("L", (2, 1)), "a <b>")[:61]
    '<img alt="a &lt;b&gt;" width="2" height="1" src="data:image/p'
    """
    pixels = as_picture(picture)
    height, width = pixels.shape[:2]
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", optimize=True)
    data = base64.b64encode(content.getvalue()).decode()
    size = f'width="{width}" height="{height}"'
    return f'<img alt="{escape(alt)}" {size} src="data:image/png;base64,{data}">'


def figure(picture: Any, caption: str) -> str:
    """Return a picture with a caption above it; it never grows wider than its container."""
    tag = image_tag(picture, caption).replace("<img ", f'<img style="{_FITTING}" ', 1)
    return f"<div>{escape(caption)}</div>{tag}"


def notebook(result: object, draw: Callable[[], Iterable[tuple[str, Any]]]) -> str:
    """Return a result as notebook HTML: its repr, and pictures with captions.

    A result that cannot be drawn is shown as text with the reason.
    """
    head = f"<div><code>{escape(repr(result))}</code></div>"
    try:
        return head + "".join(figure(picture, caption) for caption, picture in draw())
    except (InputError, LayerError) as reason:
        return f"{head}<div>{escape(str(reason))}</div>"


_FITTING = "max-width:100%;height:auto"
