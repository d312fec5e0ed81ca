import numpy as np
import pytest
import torch
from PIL import Image

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.models import Box
from torchattr.show import Look, colormap, draw_panel, panel
from torchattr.show.page import GAP, MARGIN
from torchattr.show.panel import _Column, _legends, _Scene, _size
from torchattr.show.styles import SIGNED_HEAT, Heat, Overlay
from torchattr.show.text import TextLine

PHOTO = Image.new("RGB", (60, 40), (200, 100, 50))


def cell_of(page, column, cell=64, given=96):
    """A pixel row through the middle of the first row of pictures; the input is column 0."""
    table = MARGIN + given + 2 * GAP
    width = max(cell, 96)
    left = table + (column - 1) * (width + GAP) + (width - cell) // 2
    left = left if column else MARGIN
    rows = np.flatnonzero((np.asarray(page)[:, left + cell // 2] != 255).any(1))
    pixels = np.asarray(page)[:, left : left + cell]
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    tallest = max(runs, key=len)
    return pixels[tallest[len(tallest) // 2]]


def test_every_method_and_class_has_its_place():
    maps = {"saliency": torch.randn(2, 3, 8, 8), "grad_cam": np.ones((2, 1, 4, 4))}
    page = panel(PHOTO, maps, ["cat", "dog"], [0.9, 0.1], cell=128)
    assert page.mode == "RGB"
    assert page.width == 2 * MARGIN + 192 + 2 * GAP + 2 * 192 + GAP
    one = panel(PHOTO, {k: v[:1] for k, v in maps.items()}, ["cat"], [0.9], cell=128)
    assert page.height > one.height
    assert page.getpixel((0, 0)) == page.getpixel((page.width - 1, page.height - 1)) == (255,) * 3


def test_maps_are_drawn_where_the_model_looked():
    values = np.zeros((1, 1, 4, 4))
    values[..., 3] = 5
    page = panel(PHOTO, {"saliency": values}, ["cat"], box=(20, 0, 60, 40), cell=64, view="photo")
    line = cell_of(page, 1, cell=96)
    assert (line[:30] > 150).all()
    np.testing.assert_array_equal(line[36], colormap(0.0, "inferno"))
    np.testing.assert_array_equal(line[-1], colormap(1.0, "inferno"))
    given = cell_of(page, 0, cell=96)
    assert given[5].min() > given[60].max() - 200
    np.testing.assert_array_equal(given[60], [200, 100, 50])


def test_the_crop_shows_only_what_the_model_saw():
    halves = np.zeros((40, 60, 3), np.uint8)
    halves[:, :20] = 255, 0, 0
    values = np.zeros((1, 1, 4, 4))
    values[..., 3] = 5
    page = panel(halves, {"saliency": values}, ["cat"], box=(20, 0, 60, 40), cell=64)
    assert not (np.asarray(page) == (255, 0, 0)).all(2).any()
    line = cell_of(page, 1, given=64)
    np.testing.assert_array_equal(line[0], colormap(0.0, "inferno"))
    np.testing.assert_array_equal(line[-1], colormap(1.0, "inferno"))


@pytest.mark.parametrize("box", [(-10, -10, 70, 50), (20.5, 3.25, 40.5, 23.25), (90, 0, 99, 9)])
def test_boxes_may_reach_beyond_the_picture(box):
    maps = {"grad_cam": np.ones((1, 4, 4))}
    for view in ("crop", "photo"):
        assert panel(PHOTO, maps, ["cat"], box=box, view=view).mode == "RGB"


@pytest.mark.parametrize(
    ("size", "expected"),
    [((300, 300), (64, 64)), ((60, 40), (96, 64)), ((20, 50), (64, 160)), ((900, 9), (192, 2))],
)
def test_the_shorter_side_is_as_long_as_asked(size, expected):
    assert _size(Box(0, 0, *size), 64) == expected


def test_the_input_is_drawn_once():
    blue = Image.new("RGB", (40, 40), (0, 0, 255))
    maps = {"saliency": np.ones((3, 1, 4, 4)), "lrp": np.ones((3, 1, 4, 4))}
    page = panel(blue, maps, ["a", "b", "c"], cell=64)
    assert (np.asarray(page) == (0, 0, 255)).all(2).sum() == 64 * 64


def test_a_colour_map_can_be_asked_for():
    maps = {"saliency": np.ones((1, 1, 4, 4)), "lrp": np.ones((1, 1, 4, 4))}
    square = Image.new("RGB", (40, 40))
    page = panel(square, maps, ["cat"], cell=64, cmap="turbo")
    np.testing.assert_array_equal(cell_of(page, 1, given=64)[9], colormap(1.0, "turbo"))
    np.testing.assert_array_equal(cell_of(page, 2, given=64)[9], colormap(1.0, "RdBu_r"))
    page = panel(square, maps, ["cat"], cell=64, cmap="PuOr_r")
    np.testing.assert_array_equal(cell_of(page, 1, given=64)[9], colormap(1.0, "inferno"))
    np.testing.assert_array_equal(cell_of(page, 2, given=64)[9], colormap(1.0, "PuOr_r"))


def test_a_legend_shows_only_the_colours_in_use():
    signed, positive = np.ones((2, 1, 4, 4)), np.ones((2, 1, 4, 4))
    signed[..., 0] = -1
    columns = [
        _Column.of(name, values, 2, style, None)
        for name, values, style in (
            ("lrp", positive, None),
            ("lrp", signed, None),
            ("lrp", -positive, None),
            ("saliency", signed, None),
            ("grad_cam", signed, None),
            ("grad_cam", -positive, None),
            ("lrp", 0 * positive, None),
        )
    ]
    legends = _legends(columns, _Scene.of(PHOTO, None, 64, "crop", Look()), Look())
    ends = [("0", "max"), ("−max", "max"), ("−max", "0"), ("0", "max"), ("0", "max")]
    ends += [("0", "0"), ("0", "0")]
    assert [legend.ends for legend in legends] == ends
    said = [legend.text for legend in legends[:3]]
    assert said == [
        "positive values raise the score; none is negative",
        "negative values lower the score, positive ones raise it",
        "negative values lower the score; none is positive",
    ]
    red, both, blue = (legend.bar[6].astype(int) for legend in legends[:3])
    assert (red[:, 0] >= red[:, 2] - 2).all()
    assert (blue[:, 2] >= blue[:, 0] - 2).all()
    assert both[0, 2] > both[0, 0]
    assert both[-1, 0] > both[-1, 2]


def test_only_maps_of_colours_have_a_legend_of_colours():
    columns = [
        _Column.of("guided_backprop", np.ones((2, channels, 4, 4)), 2, None, None)
        for channels in (1, 3)
    ]
    legends = _legends(columns, _Scene.of(PHOTO, None, 64, "crop", Look()), Look())
    assert [legend.text for legend in legends] == [
        "negative to positive; mid grey is zero",
        "negative to positive in each colour; mid grey is zero",
    ]


def texts_of(page):
    return [one.text for one in page.elements if isinstance(one, TextLine)]


def test_below_each_map_is_its_largest_value_or_its_range():
    signed = np.zeros((2, 4, 4))
    signed[0, 0, 0], signed[0, 3, 3], signed[1, 1, 1] = -0.25, 3, 12.345
    maps = {"grad_cam": signed, "lime": signed, "mine": signed}
    styles = {"mine": Heat(percentile=100), "lime": Overlay(sign="all", cmap="RdBu_r")}
    said = texts_of(draw_panel(PHOTO, maps, ["cat", "dog"], styles=styles))
    assert [one for one in said if "max " in one] == ["max 3", "max 3", "max 12.3", "max 12.3"]
    assert [one for one in said if " to " in one and one[0] in "−0"] == ["−0.25 to 3", "0 to 12.3"]
    empty = texts_of(draw_panel(PHOTO, {"grad_cam": np.full((2, 4, 4), -0.5)}, ["cat", "dog"]))
    assert empty.count("max −0.5") == 2


def test_a_caption_says_where_colours_are_clipped():
    values = np.ones((2, 1, 40, 60))
    values[:, 0, 0, 0] = 8
    maps = {"saliency": values, "lrp": -values}
    said = texts_of(draw_panel(PHOTO, maps, ["cat", "dog"]))
    assert said.count("max 8 · clipped at 1") == 2
    assert said.count("−8 to −1 · clipped at ±1") == 2
    assert "clipped" not in " ".join(texts_of(draw_panel(PHOTO, {"grad_cam": values}, ["a", "b"])))


def test_the_bar_of_a_single_map_has_numbers():
    values = np.ones((1, 4, 4)) * 2.5
    said = texts_of(draw_panel(PHOTO, {"grad_cam": values, "lrp": -values}, ["cat"]))
    assert said.count("2.5") == 1
    assert "−2.5" in said
    assert not {"max", "−max"} & set(said)
    both = texts_of(draw_panel(PHOTO, {"grad_cam": values, "layer_cam": values}, ["cat"]))
    assert "max" in both


def test_a_score_says_what_made_it():
    maps = {"grad_cam": np.ones((1, 4, 4))}
    plain = panel(PHOTO, maps, ["cat"], [0.4])
    told = panel(PHOTO, maps, ["cat"], [0.4], activation="softmax")
    assert plain.size == told.size
    assert plain.tobytes() != told.tobytes()


def test_text_scores_and_titles_change_the_page():
    maps = {"grad_cam": np.ones((1, 4, 4))}
    plain = panel(PHOTO, maps, ["cat"])
    titled = panel(PHOTO, maps, ["cat"], ["3.2"], title="cat.jpg", subtitle="a model")
    assert titled.height > plain.height
    assert np.asarray(plain).tobytes() == np.asarray(panel(PHOTO, maps, ["cat"])).tobytes()


def test_the_look_changes_pixels_and_paper_but_not_the_layout():
    maps = {"grad_cam": np.ones((1, 4, 4))}
    plain, large, dark = (
        draw_panel(PHOTO, maps, ["cat"], box=(20, 0, 60, 40), view="photo", look=look)
        for look in (Look(), Look(scale=2.5), Look("dark"))
    )
    assert (plain.width, plain.height) == (large.width, large.height) == (dark.width, dark.height)
    assert large.image().size == (round(plain.width * 2.5), round(plain.height * 2.5))
    papers = [one.image().getpixel((0, 0)) for one in (plain, large, dark)]
    assert papers == [(255,) * 3, (255,) * 3, Look("dark").colors.paper]
    # What the model did not see fades into the paper.
    light, night = (np.asarray(one.image()).astype(int) for one in (plain, dark))
    faded = light != night
    assert faded.mean() > 0.5
    shown = [one for one in large.elements if getattr(one, "pixels", None) is not None]
    assert shown[0].pixels.shape[0] == round(shown[0].box[3] * 2.5)


def test_a_long_class_name_is_never_cut():
    maps = {"grad_cam": np.ones((1, 4, 4))}
    short = panel(PHOTO, maps, ["cat"], cell=64)
    long = panel(PHOTO, maps, ["cat, " * 12], cell=64)
    assert long.height > short.height


def test_all_zero_maps_and_every_style():
    for style in ("heat", "signed_heat", "color", "overlay", "signed_overlay"):
        page = panel(PHOTO, {"mine": np.zeros((1, 3, 4, 4))}, ["cat"], styles={"mine": style})
        assert page.mode == "RGB"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"maps": {"grad_cam": np.ones((2, 1, 4, 4))}}, ShapeError, r"T = 1 for 1 labels.*\(2, 1"),
        ({"maps": {"grad_cam": np.ones((4, 4))}}, ShapeError, r"maps\['grad_cam'\] must have"),
        ({"maps": {}}, ShapeError, "at least one label and the maps"),
        ({"labels": "c"}, InputTypeError, "labels must be a sequence of texts, got 'c'"),
        ({"maps": {"grad_cam": np.full((1, 4, 4), np.nan)}}, InputError, "'grad_cam'.* holds NaN"),
        ({"labels": []}, ShapeError, "at least one label"),
        ({"scores": [0.1, 0.2]}, ShapeError, "scores has 2 entries for 1 labels"),
        ({"scores": [7.5]}, InputError, r"probabilities in 0\.\.1, or texts, got 7\.5"),
        ({"styles": {"lime": "heat"}}, InputError, "styles names 'lime'"),
        ({"styles": {"grad_cam": "jet"}}, InputError, "got 'jet'"),
        ({"box": (5, 5, 5, 9)}, ShapeError, "box must be"),
        ({"box": (5, 5, 9)}, ShapeError, "box must be"),
        ({"view": "all"}, InputError, r"view must be one of 'crop', 'photo', got 'all'"),
        ({"cmap": "jet"}, InputError, "colour map must be one of.*got 'jet'"),
        ({"cell": 10}, InputError, "at least 64"),
        ({"cell": "a"}, InputTypeError, "cell must be an int"),
        ({"box": 3}, ShapeError, "box must be"),
        ({"box": "abcd"}, ShapeError, "box must be"),
        ({"scores": 0.5}, InputTypeError, "scores must be a sequence"),
        ({"scores": [None]}, InputTypeError, "scores must be a number"),
        ({"title": 3}, InputTypeError, "title must be a text, got int 3"),
        ({"styles": ["heat"]}, InputTypeError, "styles must be by the names of methods"),
        ({"maps": np.ones((1, 4, 4))}, InputTypeError, "maps must be by the names of methods"),
        ({"maps": {"grad_cam": np.full((1, 4, 4), np.inf)}}, InputError, "infinite"),
        ({"image": np.zeros((2, 4, 4))}, ShapeError, "image must be a picture"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    given = {"image": PHOTO, "maps": {"grad_cam": np.ones((1, 1, 4, 4))}, "labels": ["cat"]}
    with pytest.raises(error, match=message):
        panel(**{**given, **change})


CANCELLED = {
    "sum": np.array([0.1, 0.2, -0.3])[:, None, None] * np.ones((3, 4, 4)),
    "luma": np.array([0.587, -0.299, 0.0])[:, None, None] * np.ones((3, 4, 4)),
    # Smaller than the map's cells, so that each pixel is a mean over several of them.
    "checkers": (np.indices((1, 300, 300)).sum(0) % 2 * 2 - 1.0) * 0.1,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(
    ("values", "style"),
    [("sum", SIGNED_HEAT), ("luma", Heat("luma", "all", 99, "RdBu_r")), ("checkers", SIGNED_HEAT)],
)
def test_what_cancels_is_drawn_as_zero(values, style, scale, dtype):
    given = (CANCELLED[values] * scale).astype(dtype)[None]
    page = panel(PHOTO, {"mine": given}, ["cat"], cell=65, styles={"mine": style})
    line = cell_of(page, 1, cell=98, given=98)
    assert (line == colormap(0.0, "RdBu_r")).all()


def test_scores_and_boxes_may_be_arrays_and_tensors():
    maps = {"saliency": np.ones((2, 4, 4))}
    expected = panel(PHOTO, maps, ["a", "b"], [0.25, 0.5], box=(0, 0, 40, 40))
    for kind in (np.array, torch.tensor):
        found = panel(PHOTO, maps, ["a", "b"], kind([0.25, 0.5]), box=kind([0.0, 0, 40, 40]))
        assert found == expected
    scores = {"a": 0.25, "b": 0.5}
    found = panel(PHOTO, maps, iter(scores), scores.values(), box=(0, 0, 40, 40))
    assert found == expected
