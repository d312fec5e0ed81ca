"""Curves with their intervals on Matplotlib axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from torchattr.show.arrays import as_floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LABELS = 24


def plot_intervals(
    series: Sequence[tuple[str, Any, Any, Any]],
    labels: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """Draw curves over named steps, each within the band of its interval.

    series: label, values, lower and upper bounds of each; a band is left out where they are NaN.
    labels: what is written below each step. ax: axes to draw on; None creates a figure.

    >>> axes = plot_intervals([("mean", [0.2, 0.4], [0.1, 0.3], [0.3, 0.6])], ["first", "last"])
    >>> [tick.get_text() for tick in axes.get_xticklabels()]
    ['first', 'last']
    """
    axes = _new_axes(len(labels)) if ax is None else ax
    places = np.arange(len(labels))
    for name, values, low, high in series:
        (line,) = axes.plot(places, as_floats(values), marker="o", markersize=3.5, label=name)
        axes.fill_between(
            places, as_floats(low), as_floats(high), color=line.get_color(), alpha=0.2, linewidth=0
        )
    every = -(-len(labels) // _MOST_LABELS)
    shown = places[::-1][::every][::-1]
    written = [str(labels[int(place)]) for place in shown]
    axes.set_xticks(shown, written, rotation=45, ha="right", fontsize=8)
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    if 1 < len(series) <= 10:
        axes.legend(frameon=False, fontsize=8)
    return axes


def plot_dots(
    rows: Sequence[tuple[str, Any, Any, Any]],
    ax: Axes | None = None,
    colors: Sequence[str] | None = None,
) -> Axes:
    """Draw one value with its interval in each row.

    rows: label, value, lower and upper bound of each; a value that is NaN leaves its row empty.
    ax: axes to draw on; None creates a figure. colors: of each row; None draws all in blue.

    >>> axes = plot_dots([("one", 0.5, 0.4, 0.7), ("other", 0.1, float("nan"), float("nan"))])
    >>> [tick.get_text() for tick in axes.get_yticklabels()]
    ['one', 'other']
    """
    axes = _new_axes(len(rows)) if ax is None else ax
    for place, (_, value, low, high) in enumerate(rows):
        color = colors[place] if colors else "tab:blue"
        axes.plot([float(low), float(high)], [place, place], color=color, linewidth=2)
        axes.plot([float(value)], [place], "o", color=color, markersize=5)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _new_axes(steps: int) -> Any:
    from matplotlib.figure import Figure

    size = (max(4.0, min(0.45 * steps + 2, 12.0)), 4.0)
    return Figure(figsize=size, layout="constrained").add_subplot()
