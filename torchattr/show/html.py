"""Pictures as self-contained HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
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


def page_style() -> str:
    """Return the style sheet of ``Drawing.source``, with the colours of the page around it."""
    return files("torchattr.show").joinpath("page.css").read_text(encoding="utf-8")


def captioned(
    pictures: Sequence[np.ndarray], lines: Sequence[str], alt: str = "", smooth: bool = True
) -> str:
    """Return pictures side by side with the lines of their caption, as wide as their container.

    A line that is too long breaks behind a dot rather than within what stands between dots.

    alt: what they show, by default the caption. smooth: whether pixels are interpolated where the
    page enlarges them.
    """
    said = alt or " ".join(lines)
    tags = "".join(image_tag(picture, said) for picture in pictures)
    below = "<br>".join(map(_parted, lines))
    kind = "pictures" if smooth else "pictures squares"
    caption = f"<figcaption>{below}</figcaption>" if below else ""
    return f'<figure><div class="{kind}">{tags}</div>{caption}</figure>'


def _parted(line: str) -> str:
    first, *rest = escape(line).split(" · ")
    return first + "".join(f" · <span>{part}</span>" for part in rest)


def cells_html(figures: Sequence[str], width: float) -> str:
    """Return figures beside each other, as many as find room, of at most this width each."""
    most = width / _REM
    style = f"--count:{len(figures)};--most:{most:.2f}rem;--least:{_SHARE * most:.2f}rem"
    return f'<div class="cells" style="{style}">{"".join(figures)}</div>'


def legend_html(bar: np.ndarray, ends: tuple[str, str], text: str) -> str:
    """Return a colour bar between what its ends stand for, and its meaning."""
    low, high = (f'<span class="muted">{escape(end)}</span>' for end in ends)
    tag = image_tag(bar, f"from {ends[0]} to {ends[1]}")
    return f'<div class="legend">{low}{tag}{high}<span>{escape(text)}</span></div>'


_REM = 16
"""Units of a layout in one `rem`."""

_SHARE = 0.51
"""How far a page may shrink figures to place more of them beside each other."""

_FITTING = "max-width:100%;height:auto"
