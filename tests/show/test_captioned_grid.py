import numpy as np
import pytest

from torchattr.errors import ShapeError
from torchattr.show import CaptionedGrid, Drawing, GridCell
from torchattr.show.page import GAP
from torchattr.show.text import TextLine


def tiles(count, size=(50, 40), caption=("a",), pictures=1):
    picture = np.full((*size[::-1], 3), 7, np.uint8)
    return [GridCell([picture] * pictures, size, caption)] * count


@pytest.mark.parametrize(
    ("count", "size", "pictures", "columns"),
    [
        (1, (50, 50), 1, 1),
        (9, (50, 50), 1, 3),
        (10, (50, 50), 1, 4),
        (9, (50, 50), 2, 3),
        (6, (80, 60), 1, 3),
        (2, (300, 10), 1, 1),
        (2, (10, 300), 1, 2),
    ],
)
def test_the_gallery_is_nearly_square(count, size, pictures, columns):
    found = CaptionedGrid(tiles(count, size, pictures=pictures))
    width = tiles(1, size, pictures=pictures)[0].width
    assert found.width == columns * (width + GAP) - GAP


def test_columns_can_be_asked_for():
    assert CaptionedGrid(tiles(5), columns=5).height < CaptionedGrid(tiles(5), columns=1).height
    with pytest.raises(ShapeError, match="columns must be at least 1"):
        assert CaptionedGrid(tiles(5), columns=0).width


def test_every_picture_is_drawn_where_it_belongs_and_nothing_outside():
    found = CaptionedGrid([*tiles(3, pictures=2), *tiles(1, (30, 20))], columns=2)
    page = Drawing(found.width + 20, found.height + 20)
    found.draw(page, 10, 10)
    pixels = np.asarray(page.image())
    assert (pixels == 7).all(2).sum() == 6 * 50 * 40 + 30 * 20
    pixels = np.array(pixels)
    pixels[10:-10, 10:-10] = 255
    assert (pixels == 255).all()


def test_columns_have_headings_above_the_first_row():
    plain, headed = (
        CaptionedGrid(tiles(4), columns=2, headings=headings) for headings in ((), ("one", "two"))
    )
    assert plain.lead == 0 < headed.lead
    assert plain.height == headed.height
    page = Drawing(headed.width + 20, headed.height + headed.lead + 20)
    headed.draw(page, 10, 10 + headed.lead)
    lines = [one for one in page.elements if isinstance(one, TextLine)]
    assert [one.text for one in lines[:2]] == ["one", "two"]
    assert all(10 < one.y < 10 + headed.lead for one in lines[:2])
    assert lines[1].x - lines[0].x == 50 + GAP
    assert headed.html().count("one<br>a") == headed.html().count("two<br>a") == 2
    with pytest.raises(ShapeError, match="headings has 3 entries for 2 columns"):
        assert CaptionedGrid(tiles(4), columns=2, headings=["a", "b", "c"]).lead


def test_captions_are_wrapped_to_the_cell():
    short, long = (CaptionedGrid(tiles(1, caption=[text])) for text in ("a", "some words " * 6))
    assert long.width == short.width
    assert long.height > short.height
    assert CaptionedGrid(tiles(1, caption=["a", "b"])).height > short.height
