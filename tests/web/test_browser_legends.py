"""The colour bar below a map shows the colours that are drawn, as the library's own does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from browsing import MISSING, Browser

from torchattr.show import Style
from torchattr.web.map_style import MapStyle, color_tables

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

CARD = "#explain figure.map"
BAR = f"{CARD} .colourbar"
SIZE = (128, 12)

PAINT_BAR = """
const [values, shape, look, width, height, colours] = arguments;
const done = arguments[arguments.length - 1];
import(new URL("page/render.js", location)).then(({ paint, paintBar, readTables }) => {
  const tables = readTables(colours);
  const [, h, w] = shape;
  const picture = { width: w, height: h, data: new Uint8ClampedArray(4 * w * h).fill(90) };
  const map = { values: Float32Array.from(values), shape, box: [0, 0, w, h] };
  const { span } = paint(map, look, picture, tables);
  done([span, Array.from(paintBar(span, look, shape[0], tables, width, height))]);
}).catch((error) => done(String(error)));
"""

LOOKS = [
    MapStyle("overlay", "sum", "positive", 100, "viridis", 0.9, 0.5),
    MapStyle("overlay", "sum", "all", 99.5, "RdBu_r", 0.85),
    MapStyle("overlay", "mean", "negative", 97, "plasma", 0.35, 0.2),
    MapStyle("heat", "max_abs", "absolute", 99.5, "inferno"),
    MapStyle("heat", "sum", "all", 99.5, "RdBu_r"),
    MapStyle("heat", "sum", "negative", 100, "gray"),
    MapStyle("color", sign="all", percentile=99.9),
]

VALUES = {
    "both signs": lambda values: values,
    "none negative": np.abs,
    "none positive": lambda values: -np.abs(values),
    "zero": np.zeros_like,
}


def bar_of(page: Browser, values: np.ndarray, look: MapStyle) -> tuple[Any, np.ndarray]:
    """The span and the pixels of the colour bar that the page draws for a map."""
    found = page.driver.execute_async_script(
        PAINT_BAR,
        *(values.ravel().tolist(), values.shape, look.as_json(), *SIZE, color_tables()),
    )
    assert not isinstance(found, str), found
    span, data = found
    return tuple(span), np.array(data, np.uint8).reshape(SIZE[1], SIZE[0], 4)[..., :3]


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Rounding may turn a colour into its neighbour in the table."""
    assert np.abs(found.astype(int) - expected).max() <= 8


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", VALUES)
def test_any_bar_is_drawn_as_the_library_draws_it(
    page: Browser, look: MapStyle, channels: int, kind: str
) -> None:
    values = np.random.default_rng(channels).normal(size=(channels, 6, 5)).astype(np.float32)
    values = VALUES[kind](values)
    style: Style = look.style()
    reduced = style.reduce(values)
    span, found = bar_of(page, values, look)
    assert span == style.span(reduced)
    close(found, style.bar(span, len(reduced), *SIZE))


def test_one_sign_in_rgb_has_a_stripe_for_each_colour(page: Browser) -> None:
    values = np.ones((3, 4, 4), np.float32)
    span, found = bar_of(page, values, MapStyle("color", sign="positive"))
    assert span == (0, 1)
    assert (found[:, 0] == 0).all()
    np.testing.assert_array_equal(found[[1, 5, 10], -1], 255 * np.eye(3))


def shown(page: Browser, method: str) -> tuple[str, np.ndarray]:
    page.method(method)
    page.settle()
    return page.text(f"{CARD} .range"), page.pixels(BAR)


def test_a_map_without_negative_values_has_no_blue_half(page: Browser) -> None:
    said, bar = shown(page, "excitation_backprop")
    assert said.startswith("0 … ")
    assert (bar[:, 0] > 240).all()
    red, blue = bar[..., 0].astype(int), bar[..., 2].astype(int)
    assert (blue <= red + 3).all(), "blue stands for negative values"
    said, bar = shown(page, "input_x_gradient")
    assert said.startswith("−")
    assert (bar[:, 0, 2] > bar[:, 0, 0]).all()


def test_zero_of_an_overlay_is_the_dimmed_picture(page: Browser) -> None:
    said, bar = shown(page, "grad_cam")
    assert said.startswith("0 … ")
    assert np.ptp(bar[:, 0].astype(int), axis=-1).max() <= 1
    assert (bar[:, -1, 0] > bar[:, -1, 2] + 60).all()


def test_an_rgb_map_has_a_stripe_for_each_colour(page: Browser) -> None:
    said, bar = shown(page, "guided_backprop")
    assert said.startswith("−")
    for channel, row in enumerate((1, 5, 10)):
        others = [other for other in range(3) if other != channel]
        assert (np.abs(bar[row][:, others].astype(int) - 128) <= 1).all()
        assert bar[row, 0, channel] < 5
        assert bar[row, -1, channel] > 250


def test_a_map_without_evidence_has_one_end(page: Browser) -> None:
    shown(page, "saliency")
    page.click("#explain .segments [data-value=negative]")
    page.until(lambda: page.text(f"{CARD} .range") == "0", "an end that is not there")
