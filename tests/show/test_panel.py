import numpy as np
import pytest
import torch
from PIL import Image

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.show import colormap, panel
from torchattr.show.picture_table import GAP, LABEL_WIDTH, MARGIN
from torchattr.show.styles import SIGNED_HEAT, Heat

PHOTO = Image.new("RGB", (60, 40), (200, 100, 50))


def cell_of(page, column, cell=64):
    """A pixel row through the middle of the first row of pictures, within a column."""
    left = MARGIN + LABEL_WIDTH + GAP + column * (96 + GAP) + (96 - cell) // 2
    rows = np.flatnonzero((np.asarray(page)[:, left + cell // 2] != 255).any(1))
    pixels = np.asarray(page)[:, left : left + cell]
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    tallest = max(runs, key=len)
    return pixels[tallest[len(tallest) // 2]]


def test_every_method_and_class_has_its_place():
    maps = {"saliency": torch.randn(2, 3, 8, 8), "grad_cam": np.ones((2, 1, 4, 4))}
    page = panel(PHOTO, maps, ["cat", "dog"], [0.9, 0.1], cell=128)
    assert page.mode == "RGB"
    assert page.width == 2 * MARGIN + LABEL_WIDTH + 3 * (128 + GAP)
    one = panel(PHOTO, {k: v[:1] for k, v in maps.items()}, ["cat"], [0.9], cell=128)
    assert page.height - one.height == 85 + GAP
    assert page.getpixel((0, 0)) == page.getpixel((page.width - 1, page.height - 1)) == (255,) * 3


def test_maps_are_drawn_where_the_model_looked():
    values = np.zeros((1, 1, 4, 4))
    values[..., 3] = 5
    page = panel(PHOTO, {"saliency": values}, ["cat"], box=(20, 0, 60, 40), cell=64)
    line = cell_of(page, 1)
    assert (line[:18] > 150).all()
    np.testing.assert_array_equal(line[24], colormap(0.0, "inferno"))
    np.testing.assert_array_equal(line[-1], colormap(1.0, "inferno"))
    assert cell_of(page, 0)[5].min() > cell_of(page, 0)[40].max() - 200
    np.testing.assert_array_equal(cell_of(page, 0)[40], [200, 100, 50])


def test_text_scores_and_titles_change_the_page():
    maps = {"grad_cam": np.ones((1, 4, 4))}
    plain = panel(PHOTO, maps, ["cat"])
    titled = panel(PHOTO, maps, ["cat"], ["3.2"], title="cat.jpg", subtitle="a model")
    assert titled.height > plain.height
    assert np.asarray(plain).tobytes() == np.asarray(panel(PHOTO, maps, ["cat"])).tobytes()


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
        ({"labels": "c"}, InputTypeError, "labels must be a sequence of texts, got the text 'c'"),
        ({"maps": {"grad_cam": np.full((1, 4, 4), np.nan)}}, InputError, "'grad_cam'.* holds NaN"),
        ({"labels": []}, ShapeError, "at least one label"),
        ({"scores": [0.1, 0.2]}, ShapeError, "scores has 2 entries for 1 labels"),
        ({"scores": [7.5]}, InputError, r"probabilities in 0\.\.1, or texts, got 7\.5"),
        ({"styles": {"lime": "heat"}}, InputError, "styles names 'lime'"),
        ({"styles": {"grad_cam": "jet"}}, InputError, "got 'jet'"),
        ({"box": (5, 5, 5, 9)}, ShapeError, "box must be"),
        ({"box": (5, 5, 9)}, ShapeError, "box must be"),
        ({"cell": 10}, InputError, "at least 64"),
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
    page = panel(PHOTO, {"mine": given}, ["cat"], cell=64, styles={"mine": style})
    line = cell_of(page, 1)
    assert (line == colormap(0.0, "RdBu_r")).all()
