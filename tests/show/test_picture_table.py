import numpy as np
import pytest

from torchattr.show.picture_table import LABEL_WIDTH, MARGIN, Legend, PictureTable, Row, percent


def page(rows=1, cell=(40, 64), label="cat", score=0.5, legends=1, **text):
    cells = [np.zeros((*cell, 3), np.uint8)] * 2
    return PictureTable(
        headings=["Input", "Method"],
        rows=[Row(label, score, cells) for _ in range(rows)],
        legends=[Legend("viridis", "zero to one")] * legends,
        note="a note",
        title=text.get("title"),
        subtitle=text.get("subtitle"),
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
