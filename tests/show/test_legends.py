import numpy as np
import pytest

from torchattr.show.drawing import Drawing
from torchattr.show.legends import Legend, LegendBlock
from torchattr.show.text import TextLine

RED = (255, 0, 0)


def legends(count):
    bar = np.full((12, 120, 3), RED, np.uint8)
    return [Legend(bar, ("−max", "max"), "what the colours of some columns mean")] * count


def drawn(block, width=None):
    page = Drawing(width or block.width + 20, block.height + 20)
    block.draw(page, (10, 10))
    return np.asarray(page.image())


@pytest.mark.parametrize("width", [210, 260, 420, 900])
@pytest.mark.parametrize("count", [1, 3])
def test_all_is_drawn_inside_of_the_block(width, count):
    block = LegendBlock(legends(count), "a note that is longer than a narrow line of text", width)
    pixels = drawn(block)
    assert block.fits
    rows, columns = (pixels == RED).all(2).any(1), (pixels == RED).all(2).any(0)
    assert rows.sum() == count * 12
    # A narrow block has bars of its own width.
    assert columns.sum() == 120 if width > 400 else width - 100 < columns.sum() < width
    pixels = np.array(pixels)
    pixels[9:-9, 9:-9] = 255  # Curved letters reach beyond their advance.
    assert (pixels == 255).all()


def test_texts_are_beside_the_bars_if_there_is_room():
    wide, narrow = (LegendBlock(legends(2), "", width) for width in (800, 240))
    assert wide.height < narrow.height
    bars = [np.argwhere((drawn(block) == RED).all(2)) for block in (wide, narrow)]
    for block, places in zip((wide, narrow), bars, strict=True):
        row = drawn(block)[places[0][0] + 6]
        assert (row[places[:, 1].max() + 40 :] != 255).any() == (block is wide)


def test_a_narrow_block_names_whose_colours_they_are_above_the_bar():
    bar = np.full((12, 120, 3), RED, np.uint8)
    legend = Legend(bar, ("0", "max"), "zero to largest value", "Grad-CAM")
    for width, expected in ((800, "Grad-CAM: zero to largest value"), (256, "Grad-CAM")):
        page = Drawing(width, 200)
        LegendBlock([legend], "", width).draw(page, (0, 0))
        said = {one.text: one for one in page.elements if isinstance(one, TextLine)}
        assert expected in said
    assert said["Grad-CAM"].y < said["0"].y < said["zero to largest value"].y


def test_a_block_that_is_too_narrow_says_so():
    assert not LegendBlock(legends(1), "", 100).fits


def test_long_ends_of_one_side_take_no_room_on_the_other():
    bar = np.full((12, 120, 3), RED, np.uint8)
    assert LegendBlock([Legend(bar, ("−0.51 max", "max"), "Activation")], "", 256).fits
