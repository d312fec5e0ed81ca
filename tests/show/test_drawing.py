import io

import numpy as np
import pytest
from PIL import Image

from torchattr.errors import InputError, InputTypeError
from torchattr.show import Drawing, Look, checked_dpi

RED = (255, 0, 0)


def page(scale=1.0, smooth=False):
    drawing = Drawing(60, 40, Look(scale=scale))
    drawing.place(
        np.array([[[0], [255]], [[255], [0]]], np.uint8).repeat(3, 2), (8, 6, 20, 10), smooth
    )
    drawing.fill((40, 6, 10, 4), RED)
    drawing.write(["ab"], (8, 20), 12)
    return drawing


@pytest.mark.parametrize("scale", [0.5, 1, 2, 2.5])
def test_everything_grows_with_the_scale(scale):
    pixels = np.asarray(page(scale).image())
    assert pixels.shape == (round(40 * scale), round(60 * scale), 3)
    red = np.argwhere((pixels == RED).all(2))
    assert len(red) == round(10 * scale) * round(4 * scale)
    assert red.min(0).tolist() == [round(6 * scale), round(40 * scale)]
    text = (pixels.min(2) < 128) & (np.arange(len(pixels))[:, None] > 18 * scale)
    assert text.any(1).sum() == pytest.approx(9 * scale, abs=2)


def test_few_pixels_become_squares_unless_smooth():
    squares = np.asarray(page(2).image())[12:32, 16:56, 0]
    expected = np.kron(np.array([[0, 255], [255, 0]]), np.ones((10, 20)))
    assert np.array_equal(squares, expected)
    smooth = np.asarray(page(2, smooth=True).image())[12:32, 16:56, 0]
    assert len(np.unique(smooth)) > 2


def test_a_resolution_is_written_into_the_file(tmp_path):
    with Image.open(io.BytesIO(page().encoded("png", dpi=300))) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    page().save(tmp_path / "a.PNG")
    with Image.open(tmp_path / "a.PNG") as image:
        assert np.array_equal(image, page().image())
        assert "dpi" not in image.info


def test_a_picture_alone_is_a_page_without_margins():
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    assert np.array_equal(Drawing.of(pixels).image(), pixels)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"form": "jpg"}, "format must be one of 'png', 'pdf', 'svg', got 'jpg'"),
        ({"dpi": 0}, "dpi must be above 0 and finite, got 0"),
        ({"dpi": float("inf"), "form": "pdf"}, "dpi must be above 0 and finite, got inf"),
        ({"dpi": float("nan")}, "dpi must be above 0 and finite, got nan"),
    ],
)
def test_other_files_are_refused(given, words, tmp_path):
    with pytest.raises(InputError, match=words):
        page().encoded(**given)
    with pytest.raises(InputError, match="got 'tiff'"):
        page().save(tmp_path / "a.tiff")
    assert not list(tmp_path.iterdir())


def test_too_large_a_page_is_refused():
    Drawing(10_000, 10_000)
    with pytest.raises(InputError, match=r"20000 × 20000 pixels.*some of the channels"):
        Drawing(10_000, 10_000, Look(scale=2))


@pytest.mark.parametrize("dpi", ["a", [], (1, 2)])
def test_a_resolution_that_is_no_number_is_named(dpi):
    with pytest.raises(InputTypeError, match="dpi must be a number"):
        checked_dpi(dpi)
