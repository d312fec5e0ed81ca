import numpy as np
import pytest

from torchattr.show import CaptionedGrid, Given, GridCell, Legend, Look, Page
from torchattr.show.page import GAP, MARGIN

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(side, color=(0, 0, 0)):
    return np.full((side, side, 3), color, np.uint8)


def page(count=1, side=64, given=None, legends=1, look=None, **texts):
    bar = np.full((12, 120, 3), RED, np.uint8)
    return Page(
        CaptionedGrid([GridCell([picture(side)], (side, side))] * count, columns=1),
        [Legend(bar, ("−max", "max"), "what the colours of some columns mean")] * legends,
        "a note",
        given=None if given is None else Given("Input", picture(given, BLUE), (given, given)),
        look=look or Look(),
        **texts,
    )


def pixels(one):
    return np.asarray(one.draw().image())


def test_the_page_grows_with_its_content():
    assert page(legends=3).draw().height > page(legends=1).draw().height
    assert page(title="a", subtitle="b").draw().height > page(title="a").draw().height
    assert page(given=64).draw().width >= page().draw().width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_drawn_in_the_margins(theme):
    look = Look(theme)
    drawn = pixels(page(2, title="t" * 300, subtitle="s " * 300, given=40, look=look))
    paper = np.array(look.colors.paper)
    for edge in (drawn[: MARGIN - 2], drawn[:, : MARGIN - 2], drawn[:, -MARGIN + 2 :], drawn[-12:]):
        assert (edge == paper).all()


def test_what_belongs_to_all_is_drawn_once_at_the_left():
    places = np.argwhere((pixels(page(3, given=40)) == BLUE).all(2))
    assert len(places) == 40 * 40
    assert places[:, 1].min() == MARGIN
    black = np.argwhere((pixels(page(3, given=40)) == 0).all(2))
    assert black[:, 1].min() == MARGIN + 40 + 2 * GAP


def test_a_tall_picture_at_the_left_is_not_cut():
    assert (pixels(page(given=400)) == BLUE).all(2).sum() == 400 * 400


@pytest.mark.parametrize(
    ("count", "side", "is_aside"), [(1, 256, False), (3, 256, True), (3, 64, False)]
)
def test_legends_take_the_room_below_the_picture(count, side, is_aside):
    drawn = pixels(page(count, side, given=side, legends=2))
    black = np.argwhere((drawn == 0).all(2))
    bars = np.argwhere((drawn == RED).all(2))
    assert len(np.unique(bars[:, 0])) == 2 * 12
    assert (bars[:, 0].max() < black[:, 0].max()) == is_aside
    assert bars[:, 0].min() > np.argwhere((drawn == BLUE).all(2))[:, 0].max()


def test_a_page_without_legends_ends_below_its_body():
    one = Page(CaptionedGrid([GridCell([picture(64)], (64, 64))]), [])
    assert one.draw().height < page(legends=0).draw().height
