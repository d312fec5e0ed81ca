import numpy as np
import pytest

from torchattr.show import CaptionedGrid, FigureHead, GridCell, Legend, Look
from torchattr.show.figure_head import _thumbnail_size
from torchattr.show.text import TextLine

BODY = CaptionedGrid([GridCell([np.zeros((200, 200, 3), np.uint8)], (400, 400))])


def texts(head):
    drawn = head.draw(BODY, "a title", ["3 of 9 maps", ""], [], "", Look())
    return [one.text for one in drawn.elements if isinstance(one, TextLine)]


def test_a_figure_names_its_model_its_picture_and_what_it_shows():
    named = texts(FigureHead("lite0", "cat.jpg", np.zeros((8, 8))))
    assert named[:3] == ["a title", "model: lite0 · picture: cat.jpg · 3 of 9 maps", "Input"]
    assert texts(FigureHead())[:2] == ["a title", "3 of 9 maps"]
    assert "Input" not in texts(FigureHead("lite0"))


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((500, 500), (256, 256)),
        ((400, 100), (448, 112)),
        ((100, 225), (171, 384)),
        ((2, 2), (256,) * 2),
    ],
)
def test_thumbnails_have_the_same_area(size, shown):
    assert _thumbnail_size(*size) == shown


def test_a_photograph_is_shrunk_once_for_many_figures():
    head = FigureHead(image=np.zeros((8, 8)))
    shown = [head.draw(BODY, "", [], [], "", Look(scale=s)).elements[1].pixels for s in (1, 1, 2)]
    assert shown[0] is shown[1]
    assert shown[2].shape == (512, 512, 3)


def test_the_thumbnail_has_the_pixels_of_the_scale():
    legend = Legend(np.zeros((12, 120, 3), np.uint8), ("0", "max"), "Activation")
    drawn = FigureHead(image=np.zeros((8, 8))).draw(BODY, "", [], [legend], "", Look(scale=2))
    assert drawn.elements[1].pixels.shape == (512, 512, 3)
