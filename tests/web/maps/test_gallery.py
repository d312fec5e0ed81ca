import io

import numpy as np
import pytest
from PIL import Image

from torchattr.errors import InputError
from torchattr.web.maps.gallery import Gallery


@pytest.fixture
def gallery(maps):
    return Gallery(maps)


def ids(page):
    return [one["id"] for one in page["pictures"]]


def test_it_says_what_the_store_holds(gallery):
    assert gallery.about() == {
        "name": "tiny",
        "pictures": 6,
        "done": 6,
        "failed": 1,
        "arrays": {"guided_backprop": [2, 8, 8], "grad_cam": [2, 8, 8]},
        "targets": ["top 1", "top 2"],
    }


def test_pages_follow_each_other(gallery):
    first, second = gallery.page("all", "", 0, 4), gallery.page("all", "", 4, 4)
    assert (first["total"], second["total"]) == (6, 6)
    whole = ["cat/0.png", "cat/2.png", "cat/4.png", "dog/1.png", "dog/3.png", "dog/5.png"]
    assert ids(first) + ids(second) == whole
    assert gallery.page("all", "", 6, 4)["pictures"] == []


@pytest.mark.parametrize(
    ("shown", "text", "found"),
    [
        ("failed", "", ["dog/5.png"]),
        ("done", "DOG", ["dog/1.png", "dog/3.png"]),
        ("all", "4", ["cat/4.png"]),
        ("failed", "cat", []),
    ],
)
def test_some_pictures_are_shown(gallery, shown, text, found):
    page = gallery.page(shown, text, 0, 10)
    assert (ids(page), page["total"]) == (found, len(found))


def test_a_picture_has_its_targets_or_a_reason(gallery):
    good, *_, failed = gallery.page("all", "", 0, 10)["pictures"]
    row = gallery.maps.row(0)
    assert [one["name"] for one in good["targets"]] == [("cat", "dog")[i] for i in row["targets"]]
    assert [one["score"] for one in good["targets"]] == list(row["scores"])
    assert (good["label"], good["reason"]) == ("cat", None)
    assert (failed["label"], failed["targets"]) == ("dog", [])
    assert "5.png" in failed["reason"]


def test_a_panel_is_that_of_the_store(gallery):
    drawn = Image.open(io.BytesIO(gallery.panel(2, 64)))
    assert np.array_equal(np.asarray(drawn), np.asarray(gallery.maps.panel(2, cell=64)))
    with pytest.raises(InputError, match="has no maps"):
        gallery.panel(5, 64)
