import numpy as np
import pytest

from torchattr.show.legends import Legend
from torchattr.show.picture_table import (
    GAP,
    LABEL_WIDTH,
    MARGIN,
    PictureTable,
    Row,
    percent,
)


def page(rows=1, cell=(40, 64), label="cat", score=0.5, legends=1, heading="Method", **text):
    cells = [np.zeros((*cell, 3), np.uint8)] * 2
    return PictureTable(
        headings=["Input", heading],
        rows=[Row(label, score, cells) for _ in range(rows)],
        legends=[Legend(np.full((12, 120, 3), 90, np.uint8), ("0", "max"), "a map")] * legends,
        note="a note",
        title=text.get("title"),
        subtitle=text.get("subtitle"),
        given=text.get("given"),
        activation=text.get("activation"),
    )


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "< 0.1 %"),
        (0.0001, "< 0.1 %"),
        (0.0005, "0.1 %"),
        (0.1234, "12.3 %"),
        (0.9994, "99.9 %"),
        (0.9999, "> 99.9 %"),
        (1, "> 99.9 %"),
    ],
)
def testpercentages_are_never_rounded_to_certainty(share, text):
    assert percent(share) == text


def test_the_bar_is_as_long_as_the_score():
    lengths = []
    for score in (0.0, 0.25, 0.5, 1.0):
        pixels = np.asarray(page(score=score).draw())[:, MARGIN : MARGIN + LABEL_WIDTH]
        lengths.append(int((pixels == (49, 104, 142)).all(2).sum(1).max()))
    assert lengths[0] == 0
    assert lengths == sorted(lengths)
    assert lengths[2] == pytest.approx(lengths[3] / 2, abs=1)


def test_the_page_grows_with_its_content():
    heights = [page(rows=n).draw().height for n in (1, 2, 3)]
    assert heights[2] - heights[1] == heights[1] - heights[0] > 40
    assert page(legends=3).draw().height > page(legends=1).draw().height
    assert page(title="a", subtitle="b").draw().height > page(title="a").draw().height


def test_nothing_is_drawn_in_the_margins():
    pixels = np.asarray(page(rows=2, label="a long name of a class " * 3, title="t" * 300).draw())
    assert (pixels[: MARGIN - 2] == 255).all()
    assert (pixels[:, : MARGIN - 2] == 255).all()
    assert (pixels[:, -MARGIN + 2 :] == 255).all()
    assert (pixels[-12:] == 255).all()


def test_what_belongs_to_all_rows_is_drawn_once_at_their_left():
    picture = np.full((40, 64, 3), (255, 0, 0), np.uint8)
    drawn = page(rows=3, given=("Input", picture)).draw()
    places = np.argwhere((np.asarray(drawn) == (255, 0, 0)).all(2))
    assert len(places) == 40 * 64
    assert places[:, 1].min() == MARGIN
    assert drawn.width == page(rows=3).draw().width + 64 + 2 * GAP


def test_a_tall_picture_at_the_left_is_not_cut():
    picture = np.full((400, 64, 3), (255, 0, 0), np.uint8)
    drawn = np.asarray(page(given=("Input", picture)).draw())
    assert (drawn == (255, 0, 0)).all(2).sum() == 400 * 64


@pytest.mark.parametrize("what", ["heading", "label"])
def test_no_word_of_a_heading_or_label_is_broken(what):
    word = "Donaudampfschifffahrtsgesellschaft"
    made = page(**{what: f"a {word}"})
    lines = made._heading_lines[1] if what == "heading" else made._labels[0]
    assert lines in ([f"a {word}"], ["a", word])
    assert made.draw().width > page().draw().width


def test_a_score_says_what_made_it():
    assert page(activation="softmax")._scores == [["50.0 % (softmax)"]]
    assert page(score="3.2", activation="softmax")._scores == [["3.2"]]
    assert page(score=None)._scores == [[]]
