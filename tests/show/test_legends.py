import numpy as np
import pytest
from PIL import Image

from torchattr.show.legends import Legend, LegendBlock
from torchattr.show.picture_table import PictureTable, Row

RED = (255, 0, 0)


def legends(count):
    bar = np.full((12, 120, 3), RED, np.uint8)
    return [Legend(bar, ("−max", "max"), "what the colours of some columns mean")] * count


def drawn(block, width=None):
    canvas = Image.new("RGB", (width or block.width + 20, block.height + 20), "white")
    block.draw(canvas, (10, 10))
    return np.asarray(canvas)


@pytest.mark.parametrize("width", [210, 260, 420, 900])
@pytest.mark.parametrize("count", [1, 3])
def test_all_is_drawn_inside_of_the_block(width, count):
    block = LegendBlock(legends(count), "a note that is longer than a narrow line of text", width)
    pixels = drawn(block)
    assert block.fits
    assert (pixels == RED).all(2).sum() == count * 120 * 12
    pixels = np.array(pixels)
    pixels[9:-9, 9:-9] = 255  # Curved letters reach beyond their advance.
    assert (pixels == 255).all()


def test_texts_are_beside_the_bars_if_there_is_room():
    wide, narrow = (LegendBlock(legends(2), "", width) for width in (800, 240))
    assert wide.height < narrow.height
    bars = [np.argwhere((drawn(block) == RED).all(2)) for block in (wide, narrow)]
    for block, places in zip((wide, narrow), bars, strict=True):
        row = drawn(block)[places[0][0] + 6]
        assert (row[places[0][1] + 180 :] != 255).any() == (block is wide)


def test_a_block_that_is_too_narrow_says_so():
    assert not LegendBlock(legends(1), "", 100).fits


@pytest.mark.parametrize(
    ("rows", "side", "is_aside"), [(1, 256, False), (3, 256, True), (3, 64, False)]
)
def test_legends_take_the_room_below_the_picture(rows, side, is_aside):
    cell = np.zeros((side, side, 3), np.uint8)
    table = PictureTable(
        ["one", "two"],
        [Row("cat", 0.5, [cell, cell])] * rows,
        legends(2),
        "a note",
        None,
        None,
        ("Input", np.full((side, side, 3), (0, 0, 255), np.uint8)),
    )
    pixels = np.asarray(table.draw())
    black = np.argwhere((pixels == 0).all(2))
    bars = np.argwhere((pixels == RED).all(2))
    assert len(bars) == 2 * 120 * 12
    assert (bars[:, 0].max() < black[:, 0].max()) == is_aside
    assert bars[:, 0].min() > np.argwhere((pixels == (0, 0, 255)).all(2))[:, 0].max()
