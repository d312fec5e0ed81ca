"""Maps on Matplotlib axes, for custom figures."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from torchattr.core.arguments import checked_flags
from torchattr.errors import InputTypeError, ShapeError
from torchattr.models import Box, place
from torchattr.show.arrays import as_floats, as_picture
from torchattr.show.channels import How, reduce_channels
from torchattr.show.colors import default_colormap, is_diverging, table
from torchattr.show.overlay import overlay
from torchattr.show.scaling import Sign, rescale
from torchattr.show.styles import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from torchattr.methods import Ledger


@checked_flags
def plot(
    values: Any,
    image: Any = None,
    ax: Axes | None = None,
    *,
    sign: Sign = "all",
    how: How = "sum",
    percentile: float | None = 99,
    cmap: str | None = None,
    alpha: float = 0.75,
    threshold: float = 0.0,
    bar: bool = True,
    title: str | None = None,
) -> Axes:
    """Draw one map on Matplotlib axes, alone or over its picture, with a colour bar in its units.

    No window opens: the axes belong to the caller's figure, or to a new one (`ax.figure`) that can
    be saved or shown like any other.

    values: ``(h, w)``, or ``(C, h, w)``, whose channels are reduced by ``how``.
    image: see ``overlay``; None draws the map alone.
    ax: axes to draw on; None creates a figure.
    sign: which values to draw; see ``rescale``.
    percentile: where to clip the colours, see ``rescale``; None does not clip.
    cmap: see ``colormap``.
    alpha: see ``overlay``; requires an image.
    threshold: see ``overlay``; a fraction of the largest value.
    bar: whether to add a colour bar.

    Raises ``ShapeError`` for a batch, and what ``rescale`` and ``overlay`` raise.

    >>> ax = plot(np.array([[0.0, -2.0], [1.0, 0.5]]), title="signed")
    >>> ax.get_title(), ax.images[0].get_array().shape
    ('signed', (2, 2, 3))
    """
    flat = _one_map(values, how)
    scaled = rescale(flat, sign, percentile)
    own = "RdBu_r" if sign == "all" else default_colormap(scaled)
    name = own if cmap is None else cmap
    if image is None:
        blank = np.full((*scaled.shape, 3), 255, np.uint8)
        drawn = overlay(blank, scaled, 1.0, threshold, name, follow=False)
    else:
        drawn = overlay(as_picture(image), scaled, alpha, threshold, name)
    axes = _new_axes() if ax is None else ax
    _draw(axes, drawn, title)
    if bar:
        low = -1 if is_diverging(name) else 0
        _add_bar(axes, table(name), low, 1, _unit(flat, sign, percentile))
    return axes


@checked_flags
def plot_style(
    values: Any,
    image: Any,
    style: Style,
    ax: Axes | None = None,
    *,
    box: Box | None = None,
    bar: bool = True,
    title: str | None = None,
) -> Axes:
    """Draw one map on Matplotlib axes as ``panel`` draws it, with a colour bar in its units.

    values: ``(C, h, w)``.
    image: the picture that it belongs to; see ``as_picture``.
    style: one of ``STYLES``, such as ``style_of("grad_cam", values)``.
    ax, bar, title: see ``plot``.
    box: the part of ``image``, in its pixels, that the map covers; None for all of it.

    Raises ``ShapeError`` for channels that the style cannot draw.

    >>> from torchattr.show import OVERLAY
    >>> ax = plot_style(np.ones((1, 2, 2)), np.zeros((8, 8)), OVERLAY)
    >>> ax.images[0].get_array().shape
    (8, 8, 3)
    """
    reduced, picture = style.reduce(as_floats(values)), as_picture(image)
    height, width = picture.shape[:2]
    placed = place(reduced, box or Box(0, 0, width, height), (height, width))
    axes = _new_axes() if ax is None else ax
    _draw(axes, style.paint(picture, placed), title)
    if bar:
        span = style.span(reduced)
        unit = _unit(reduced, style.sign, style.percentile)
        _add_bar(axes, style.bar(span, 1, _COLORS, 1)[0], *span, unit)
    return axes


@checked_flags
def plot_lines(
    lines: Sequence[tuple[Any, Any, str]], ax: Axes | None = None, *, fill: bool = False
) -> Axes:
    """Plot lines over 0..1 on Matplotlib axes; up to ten are named in a legend.

    lines: positions, values and label of each. ax: see ``plot``. fill: shade the area below them.

    >>> [line.get_label() for line in plot_lines([([0, 1], [0.2, 0.9], "first")]).lines]
    ['first']
    """
    _check_lines(lines)
    axes = _new_axes() if ax is None else ax
    for positions, values, label in lines:
        (line,) = axes.plot(as_floats(positions), as_floats(values), label=label)
        if fill:
            x, y = line.get_data()
            axes.fill_between(x, y, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlim(0, 1)
    axes.spines[["top", "right"]].set_visible(False)
    if 1 < len(lines) <= 10:
        axes.legend(frameon=False)
    return axes


def _check_lines(lines: Any) -> None:
    """Check that each line has positions, as many values, and a label.

    Raises ``InputTypeError`` or ``ShapeError`` for others.
    """
    each: Sequence[Any] = [None] if not isinstance(lines, Sequence) else lines
    if not all(isinstance(one, (tuple, list)) and len(one) == 3 for one in each):
        raise InputTypeError(
            "lines must be a sequence of (positions, values, label), got " + reprlib.repr(lines)
        )
    for positions, values, label in each:
        x, y = np.shape(as_floats(positions, "positions")), np.shape(as_floats(values))
        if len(x) != 1 or x != y:
            raise ShapeError(f"positions and values of {label!r} must be (n,), got {x} and {y}")


def plot_ledger(ledger: Ledger, ax: Axes | None = None, *, most: int = 8) -> Axes:
    """Plot where a score went as bars: the inputs, each reason to stay, and the largest entries.

    ledger: of one example, as relevance methods return it. ax: see ``plot``. most: the number of
    entries below the reasons.

    >>> from torchattr.methods import Ledger
    >>> bars = plot_ledger(Ledger(1.0, 0.75, ()))
    >>> [text.get_text() for text in bars.get_yticklabels()]
    ['inputs', 'error']
    """
    axes = _new_axes() if ax is None else ax
    rows = [(name, share, True) for name, share in ledger.by_reason().items()]
    rows += [
        (f"{entry.reason}, {entry.layer or entry.operation}", entry.amount, False)
        for entry in ledger.largest(most)
    ]
    for position, (_, share, is_sum) in enumerate(rows):
        color = ("tab:blue" if share < 0 else "tab:red") if is_sum else "0.7"
        axes.barh(position, share, color=color)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.invert_yaxis()
    axes.axvline(0, color="0.2", linewidth=0.8)
    axes.set_xlabel(f"share of the score {ledger.score:.4g}")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def rendered(axes: Axes) -> np.ndarray:
    """Return the figure of Matplotlib axes as a picture, uint8 ``(H, W, 3)``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure: Any = axes.figure
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _one_map(values: Any, how: How) -> np.ndarray:
    array = as_floats(values)
    if array.ndim == 3:
        return reduce_channels(values, how)
    if array.ndim != 2:
        raise ShapeError(
            f"values must be one map (h, w) or (C, h, w), got the shape {array.shape}; plot the"
            " maps of a batch one by one"
        )
    return array


def _unit(flat: np.ndarray, sign: Sign, percentile: float | None) -> float:
    """Return the value that has the strongest colour."""
    kept = {"positive": np.maximum(flat, 0), "negative": np.maximum(-flat, 0)}.get(sign, flat)
    magnitude = np.abs(kept[~np.isnan(kept)])
    largest = float(magnitude.max(initial=0))
    if percentile is None or magnitude.size == 0:
        return largest
    return float(np.percentile(magnitude, percentile)) or largest


def _new_axes() -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(4, 4), layout="constrained").add_subplot()


def _draw(axes: Any, drawn: np.ndarray, title: str | None) -> None:
    axes.imshow(drawn, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    if title is not None:
        axes.set_title(title)


def _add_bar(axes: Any, colors: np.ndarray, low: float, high: float, unit: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    unit = unit or 1.0
    drawn = ScalarMappable(Normalize(low * unit, high * unit), ListedColormap(colors / 255.0))
    axes.figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.04)


_COLORS = 256
