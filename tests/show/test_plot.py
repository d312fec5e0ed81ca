"""Maps on Matplotlib axes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from helpers import refused
from matplotlib.figure import Figure
from PIL import Image

import torchattr as ta
from torchattr.errors import InputTypeError, ShapeError
from torchattr.layers import LedgerEntry
from torchattr.methods import Ledger
from torchattr.show import colormap, overlay, plot, plot_ledger, plot_lines, rendered, rescale

MAP = np.array([[0.0, -4.0], [2.0, 1.0]])


def drawn(ax) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def test_draws_on_the_callers_axes() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot(MAP, ax=right, bar=False, title="right") is right
    assert (len(left.images), len(right.images)) == (0, 1)
    assert right.get_title() == "right"
    assert not len(right.get_xticks())


def test_alone_it_is_the_coloured_map() -> None:
    expected = colormap(rescale(MAP, "all"), "RdBu_r")
    assert np.array_equal(drawn(plot(MAP, percentile=None)), expected)


def test_over_a_picture_it_is_the_overlay() -> None:
    image = Image.new("RGB", (4, 6), (10, 90, 200))
    ax = plot(MAP, image, sign="positive", percentile=None, alpha=0.5, threshold=0.2)
    expected = overlay(image, rescale(MAP, "positive"), 0.5, 0.2, "viridis")
    assert np.array_equal(drawn(ax), expected)


@pytest.mark.parametrize(
    ("sign", "low", "high"), [("all", -4, 4), ("positive", 0, 2), ("absolute", 0, 4)]
)
def test_the_bar_speaks_in_units_of_the_map(sign: str, low: float, high: float) -> None:
    ax = plot(MAP, sign=sign, percentile=None)
    (bar,) = (other for other in ax.figure.axes if other is not ax)
    assert bar.get_ylim() == (low, high)


def test_the_bar_ends_where_colours_are_clipped() -> None:
    values = np.arange(101.0).reshape(1, 101)
    ax = plot(values, sign="positive", percentile=50)
    assert ax.figure.axes[1].get_ylim() == (0, 50)
    assert np.array_equal(drawn(ax)[0, 50], drawn(ax)[0, 100])


def test_channels_are_reduced_first() -> None:
    both = np.stack([MAP, -MAP])
    assert np.array_equal(drawn(plot(both)), drawn(plot(np.zeros((2, 2)))))
    assert np.array_equal(drawn(plot(both, how="l2")), drawn(plot(np.abs(MAP))))


def test_figures_are_saved_without_a_display() -> None:
    file = io.BytesIO()
    plot(MAP).figure.savefig(file)
    assert Image.open(file).size == (400, 400)


def test_a_batch_is_refused() -> None:
    with refused(ta.ShapeError, "(2, 3, 4, 5)", "one by one"):
        plot(np.zeros((2, 3, 4, 5)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_channels_that_cancel_are_drawn_as_zero(dtype) -> None:
    values = torch.tensor([0.1, 0.2, -0.3], dtype=dtype).reshape(3, 1, 1).expand(3, 2, 2)
    assert (drawn(plot(values, how="sum")) == colormap(0.0, "RdBu_r")).all()


def test_a_ledger_as_bars() -> None:
    entries = (
        LedgerEntry("head", "linear", "bias", 0.5),
        LedgerEntry("", "torch.add", "constant", -0.25),
        LedgerEntry("stem", "conv2d", "bias", 0.125),
    )
    axes = plot_ledger(Ledger(1.0, 0.625, entries), most=2)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    widths = [bar.get_width() for bar in axes.patches]
    assert labels == ["inputs", "bias", "constant", "error", "bias, head", "constant, torch.add"]
    assert widths == [0.625, 0.625, -0.25, 0.0, 0.5, -0.25]
    assert rendered(axes).shape[2] == 3


def test_arguments_of_wrong_types_are_refused() -> None:
    for lines in (None, "a", [1.0], [([0], [1])]):
        with refused(InputTypeError, "lines must be a sequence of (positions, values, label)"):
            plot_lines(lines)  # type: ignore[arg-type]
    with refused(ShapeError, "positions and values of 'a' must be (n,)", "(2,)", "(1,)"):
        plot_lines([([0, 1], [1], "a")])
    with refused(InputTypeError, "percentile must be a number"):
        plot(np.ones((2, 2)), percentile="a")  # type: ignore[arg-type]
