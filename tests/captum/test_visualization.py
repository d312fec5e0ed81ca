"""Captum's pictures: the same arrays on the axes, and error messages instead of assertions."""

from __future__ import annotations

import inspect
from typing import Any

import captum.attr
import matplotlib
import numpy as np
import pytest
from helpers import refused
from matplotlib.figure import Figure

import torchattr as ta
from torchattr.captum import visualization
from torchattr.captum import visualization as ours
from torchattr.errors import InputError, InputTypeError, ShapeError

theirs = captum.attr.visualization
GENERATOR = np.random.default_rng(0)
ATTR = GENERATOR.normal(size=(7, 5, 3))
IMAGE = GENERATOR.random((7, 5, 3))
ONE_SIGN = ("positive", "negative", "absolute_value")
CASES = [
    *((method, sign) for method in ("heat_map", "blended_heat_map") for sign in ours.SIGNS),
    ("original_image", "all"),
    *((method, sign) for method in ("masked_image", "alpha_scaling") for sign in ONE_SIGN),
]


@pytest.fixture(autouse=True)
def no_display() -> None:
    matplotlib.use("agg")


def pictures(axes) -> list[dict[str, object]]:
    return [
        {
            "array": np.asarray(image.get_array(), float),
            "limits": image.get_clim() if np.asarray(image.get_array()).ndim == 2 else None,
            "colors": image.cmap(np.linspace(0, 1, 5)).tolist(),
            "alpha": image.get_alpha(),
        }
        for image in axes.images
    ]


@pytest.mark.parametrize(("method", "sign"), CASES)
@pytest.mark.parametrize("attr", [ATTR, ATTR[..., 0]])
@pytest.mark.parametrize("image", [IMAGE, (IMAGE * 255).astype(np.uint8)])
def test_draws_what_captum_draws(method: str, sign: str, attr, image) -> None:
    found = [
        library.visualize_image_attr(
            *(attr, image, method, sign),
            outlier_perc=5,
            alpha_overlay=0.3,
            show_colorbar=True,
            title="map",
            use_pyplot=False,
        )
        for library in (ours, theirs)
    ]
    for one, other in zip(*(pictures(axes) for _, axes in found), strict=True):
        np.testing.assert_allclose(one.pop("array"), other.pop("array"), rtol=1e-12, atol=1e-12)
        assert one == other
    assert [len(figure.axes) for figure, _ in found] == [2, 2]
    assert {axes.get_title() for _, axes in found} == {"map"}


def test_several_side_by_side() -> None:
    methods, signs = ["original_image", "heat_map", "masked_image"], ["all", "all", "positive"]
    figures = [
        library.visualize_image_attr_multiple(
            ATTR, IMAGE, methods, signs, ["a", "b", "c"], use_pyplot=False, outlier_perc=1
        )
        for library in (ours, theirs)
    ]
    for one, other in zip(figures[0][1], figures[1][1], strict=True):
        assert one.get_title() == other.get_title()
        np.testing.assert_allclose(
            *(np.asarray(a.images[0].get_array(), float) for a in (one, other))
        )
    single = ours.visualize_image_attr_multiple(ATTR, None, ["heat_map"], ["all"], use_pyplot=False)
    assert len(single[1].images) == 1


@pytest.mark.parametrize("name", ["visualize_image_attr", "visualize_image_attr_multiple"])
def test_parameters_are_captums(name: str) -> None:
    mine, captums = (inspect.signature(getattr(one, name)).parameters for one in (ours, theirs))
    assert list(mine) == list(captums)
    assert [p.default for p in mine.values()] == [p.default for p in captums.values()]
    assert [p.kind for p in mine.values()] == [p.kind for p in captums.values()]


def test_on_axes_of_ones_own_and_by_pyplot(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = Figure()
    axes = figure.add_subplot()
    given = ours.visualize_image_attr(ATTR, plt_fig_axis=(figure, axes), use_pyplot=False)
    assert given == (figure, axes)
    shown: list[int] = []
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: shown.append(1))
    shown_figure, _ = ours.visualize_image_attr(ATTR)
    assert shown == [1]
    matplotlib.pyplot.close(shown_figure)


def test_a_map_of_zeros_is_blank_where_captum_stops() -> None:
    _, axes = ours.visualize_image_attr(np.zeros((4, 4, 3)), use_pyplot=False)
    assert not np.asarray(axes.images[0].get_array()).any()


@pytest.mark.parametrize("sign", ours.SIGNS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_channels_that_cancel_up_to_rounding_are_blank(sign: str, dtype, scale: float) -> None:
    attr = (np.full((4, 4, 3), [0.1, 0.2, -0.3]) * scale).astype(dtype)
    _, axes = ours.visualize_image_attr(attr, sign=sign, use_pyplot=False)
    assert not np.asarray(axes.images[0].get_array()).any()


def test_whole_numbers_and_masks_are_counted() -> None:
    for attr in (np.full((2, 2, 3), [9, -8, 0]), np.full((2, 2, 3), [True, True, False])):
        _, axes = ours.visualize_image_attr(attr, use_pyplot=False)
        assert (np.asarray(axes.images[0].get_array()) == 1).all()


def test_wrong_input_is_a_sentence() -> None:
    def draw(*args, **kwargs):
        return ours.visualize_image_attr(*args, use_pyplot=False, **kwargs)

    with refused(ta.InputError, "method", "heat_map", "'heatmap'"):
        draw(ATTR, method="heatmap")
    with refused(ta.InputError, "sign", "absolute_value", "'abs'"):
        draw(ATTR, sign="abs")
    with refused(ta.InputError, "original_image is missing", "masked_image"):
        draw(ATTR, method="masked_image")
    with refused(ta.InputError, "masked_image", "both signs"):
        draw(ATTR, IMAGE, "masked_image", "all")
    with refused(ta.ShapeError, "(7, 5)", "(4, 5)"):
        draw(ATTR, IMAGE[:4], "blended_heat_map")
    with refused(ta.ShapeError, "attr", "(1, 7, 5, 3)"):
        draw(ATTR[None])
    with refused(ta.InputError, "outlier_perc", "200"):
        draw(ATTR, outlier_perc=200)
    with refused(ta.InputError, "signs has 1 entries for 2 methods"):
        ours.visualize_image_attr_multiple(ATTR, None, ["heat_map"] * 2, ["all"], use_pyplot=False)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"outlier_perc": "a"}, InputTypeError, "outlier_perc must be a number, got str 'a'"),
        ({"alpha_overlay": "a"}, InputTypeError, "alpha_overlay must be a number"),
        ({"alpha_overlay": 2}, InputError, "alpha_overlay must lie in 0..1"),
        ({"attr": [[1.0], [2.0, 3.0]]}, InputTypeError, "attr must hold real numbers"),
        ({"original_image": "a"}, InputTypeError, "original_image must hold real numbers"),
        ({"original_image": 3}, ShapeError, "original_image must be (H, W)"),
    ],
)
def test_arguments_of_wrong_types_are_named(
    change: dict[str, Any], error: type[Exception], said: str
) -> None:
    given: dict[str, Any] = {"attr": np.ones((4, 4, 3)), "original_image": np.ones((4, 4, 3))}
    with refused(error, said):
        visualization.visualize_image_attr(**{**given, "use_pyplot": False, **change})
    with refused(InputTypeError, "methods must be a list, got int"):
        visualization.visualize_image_attr_multiple(np.ones((4, 4)), None, 3, [])  # type: ignore[arg-type]
