import numpy as np
import pytest

from torchattr.show.class_table import ClassTable, Row, percent
from torchattr.show.elements import Raster
from torchattr.show.page import Page
from torchattr.show.text import TextLine


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
        pixels = np.asarray(drawn(score=score))
        lengths.append(int((pixels == (49, 104, 142)).all(2).sum(1).max()))
    assert lengths[0] == 0
    assert lengths == sorted(lengths)
    assert lengths[2] == pytest.approx(lengths[3] / 2, abs=1)
    assert lengths[3] == table().width


def test_the_table_grows_with_its_rows():
    heights = [table(rows=n).height for n in (1, 2, 3)]
    assert heights[2] - heights[1] == heights[1] - heights[0] > 40


@pytest.mark.parametrize("what", ["heading", "label"])
def test_no_word_of_a_heading_or_label_is_broken(what):
    word = "Donaudampfschifffahrtsgesellschaft"
    made = table(**{what: f"a {word}"})
    lines = made._heading_lines[1] if what == "heading" else made._labels[0]
    assert lines in ([f"a {word}"], ["a", word])
    assert made.width >= table().width
    assert made._label_fit[0] < table()._label_fit[0] or what == "heading"


def test_a_score_says_what_made_it():
    assert "50.0 % (softmax)" in texts_of(table(activation="softmax"))
    assert texts_of(table(score="3.2", activation="softmax"))[2:] == ["cat", "3.2"]
    assert texts_of(table(score=None))[2:] == ["cat"]


def texts_of(body):
    return [one.text for one in Page(body, []).draw().elements if isinstance(one, TextLine)]


@pytest.mark.parametrize(("label", "is_beside"), [("cat", True), ("a cat in a hat and", False)])
def test_a_score_is_behind_its_label_if_there_is_room(label, is_beside):
    page = Page(table(label=label, score="score 3.21"), []).draw()
    lines = {one.text: one for one in page.elements if isinstance(one, TextLine)}
    name, score = lines[label], lines["score 3.21"]
    assert (score.y == name.y) == (score.x > name.x) == is_beside


def test_captions_are_below_their_pictures_and_make_rows_higher():
    cells = [np.zeros((40, 64, 3), np.uint8)] * 2
    bare, captioned = (
        ClassTable(["a", "b"], [Row("cat", 0.5, cells, captions)] * 2, (64, 40))
        for captions in ((), ("max 1", "a caption that is long and wrapped"))
    )
    assert captioned.height > bare.height
    assert captioned.width == bare.width
    page = Page(captioned, []).draw()
    tops = [one.box[1] for one in page.elements if isinstance(one, Raster)]
    first = next(one for one in page.elements if getattr(one, "text", "") == "max 1")
    assert tops[0] + 40 < first.y < tops[2]
    assert "a<br>max 1" in captioned.html()


@pytest.mark.parametrize(
    ("width", "lines"),
    [(300, ["−0.1 to 0.2 · clipped at ±0.15"]), (150, ["−0.1 to 0.2", "clipped at ±0.15"])],
)
def test_the_parts_of_a_caption_are_kept_together(width, lines):
    row = Row("cat", 0.5, [np.zeros((40, width, 3), np.uint8)], ["−0.1 to 0.2 · clipped at ±0.15"])
    assert texts_of(ClassTable(["a"], [row], (width, 40)))[-len(lines) :] == lines
