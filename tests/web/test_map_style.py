"""Styles that the page sends, and the colour tables that it draws with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import refused

from torchattr.errors import InputError
from torchattr.show import COLOR, DIVERGING, SEQUENTIAL, STYLES, Color, Heat, Overlay, Style
from torchattr.web.map_style import MapStyle, SingleSignColor, color_tables


class Custom(Style):
    """A style that the page does not know."""

    cmap, meaning, percentile = "gray", "", 100.0

    def reduce(self, values: np.ndarray) -> np.ndarray:
        return values

    def paint(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        return picture


@pytest.mark.parametrize(
    "style", [Overlay(), Overlay(alpha=0.3, dim=0.2), Heat("l2", "all", 90, "bwr"), COLOR]
)
def test_a_style_of_the_library_survives_the_way_to_the_page(style: Style) -> None:
    assert MapStyle(**MapStyle.of(style).as_json()).style() == style


def test_every_named_style_has_a_counterpart() -> None:
    for style in STYLES.values():
        MapStyle.of(style).check()


def test_a_custom_style_becomes_a_heatmap() -> None:
    assert MapStyle.of(Custom()).kind == "heat"


def test_one_sign_in_rgb_is_black_at_zero() -> None:
    style = MapStyle("color", sign="negative", percentile=99).style()
    assert style == SingleSignColor("negative", 99)
    values = np.float32([[[0.0, -1.0, 2.0]]])
    painted = style.paint(np.full((1, 3, 3), 90, np.uint8), values)
    assert painted[0, :, 0].tolist() == [0, 255, 0]
    assert isinstance(MapStyle("color", sign="all").style(), Color)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "sparkles"}, "kind must be one of"),
        ({"alpha": -0.1}, "alpha must be within 0..1"),
        ({"percentile": 0}, "percentile"),
        ({"percentile": float("nan")}, "percentile"),
        ({"sign": "all"}, "no colours for negative values"),
    ],
)
def test_invalid_styles_are_rejected(changes: dict[str, Any], words: str) -> None:
    with refused(InputError, words):
        MapStyle(**changes).check()


def test_tables_hold_256_colours_of_every_colormap() -> None:
    found = color_tables()
    assert set(found["tables"]) == {*SEQUENTIAL, *DIVERGING}
    assert {len(bytes.fromhex(text)) for text in found["tables"].values()} == {256 * 3}
