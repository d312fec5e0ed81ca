import numpy as np
import pytest

from torchattr.show.class_table import LABEL_WIDTH, ClassTable, Row, percent
from torchattr.show.page import MARGIN, Page


def table(rows=1, cell=(40, 64), label="cat", score=0.5, heading="Method", activation=None):
    cells = [np.zeros((*cell, 3), np.uint8)] * 2
    listed = [Row(label, score, cells) for _ in range(rows)]
    return ClassTable(["Input", heading], listed, cell[::-1], activation)


def drawn(**given):
    return Page(table(**given), []).draw().image()


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
        pixels = np.asarray(drawn(score=score))[:, MARGIN : MARGIN + LABEL_WIDTH]
        lengths.append(int((pixels == (49, 104, 142)).all(2).sum(1).max()))
    assert lengths[0] == 0
    assert lengths == sorted(lengths)
    assert lengths[2] == pytest.approx(lengths[3] / 2, abs=1)


def test_the_table_grows_with_its_rows():
    heights = [table(rows=n).height for n in (1, 2, 3)]
    assert heights[2] - heights[1] == heights[1] - heights[0] > 40


@pytest.mark.parametrize("what", ["heading", "label"])
def test_no_word_of_a_heading_or_label_is_broken(what):
    word = "Donaudampfschifffahrtsgesellschaft"
    made = table(**{what: f"a {word}"})
    lines = made._heading_lines[1] if what == "heading" else made._labels[0]
    assert lines in ([f"a {word}"], ["a", word])
    assert made.width > table().width


def test_a_score_says_what_made_it():
    assert table(activation="softmax")._scores == [["50.0 % (softmax)"]]
    assert table(score="3.2", activation="softmax")._scores == [["3.2"]]
    assert table(score=None)._scores == [[]]
