"""Figures of benchmarks on Matplotlib axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from torchattr.evaluate.bootstrap import Interval
from torchattr.evaluate.ground_truth.controls import CONTROLS
from torchattr.evaluate.ground_truth.text_table import number
from torchattr.show import plot_dots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DARK = 0.6
"""The value from which on a cell's text is white."""


def plot_ranks(names: Sequence[str], ranks: Interval, ax: Axes | None = None) -> Axes:
    """Draw the mean rank of each name with its interval, the best on top; controls are grey."""
    axes = _axes(5.5, 1 + 0.2 * len(names)) if ax is None else ax
    order = [int(k) for k in ranks.value.argsort(stable=True)]
    rows = [(names[k], ranks.value[k], ranks.low[k], ranks.high[k]) for k in order]
    plot_dots(rows, axes, ["0.6" if names[k] in CONTROLS else "tab:blue" for k in order])
    axes.set_xlabel("mean rank, 1 is the best")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    return axes


def plot_agreement(names: Sequence[str], values: Tensor, ax: Axes | None = None) -> Axes:
    """Draw a matrix of correlations as a heat map with its numbers."""
    side = 2 + 0.5 * len(names)
    return plot_matrix(names, names, values, (side + 0.8, side), ("RdBu_r", -1, 1), ax)


def plot_matrix(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Tensor,
    size: tuple[float, float],
    colors: tuple[str, float, float],
    ax: Axes | None = None,
) -> Axes:
    """Draw a matrix as a heat map with its numbers; cells of NaN are grey.

    Args:
        rows: the names of the rows.
        columns: the names of the columns.
        values: `(rows, columns)`.
        size: of a new figure, in inches.
        colors: colour map, and the values at its ends.
        ax: axes to draw on.
    """
    axes: Any = _axes(*size) if ax is None else ax
    name, low, high = colors
    axes.set_facecolor("0.85")
    drawn = axes.imshow(values.numpy(), cmap=name, vmin=low, vmax=high, aspect="auto")
    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            if value == value:
                color = "white" if _is_dark(value, low, high) else "0.15"
                axes.text(
                    column, row, number(value), ha="center", va="center", fontsize=7, color=color
                )
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), rows)
    axes.figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03)
    return axes


def _is_dark(value: float, low: float, high: float) -> bool:
    """Whether a colour map is dark there: at both ends of a diverging one, at the high end else."""
    return abs(value) > DARK * high if low < 0 else value > DARK * high


def _axes(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").add_subplot()
