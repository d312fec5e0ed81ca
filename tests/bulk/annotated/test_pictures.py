"""A folder of pictures with boxes."""

from __future__ import annotations

import pytest
from bulk.annotated.drawn import COUNT, HEIGHT, WIDTH, draw

from torchattr.bulk.annotated.pictures import AnnotatedPictures
from torchattr.errors import ImageError, InputError


def test_pictures_are_read_in_the_order_of_their_names(tmp_path) -> None:
    source = AnnotatedPictures(draw(tmp_path), tmp_path / "boxes.csv")
    assert len(source.ids()) == COUNT
    assert list(source.ids()) == sorted(source.ids())
    assert source.read(0).size == (WIDTH, HEIGHT)
    assert source.described()["kind"] == "boxes"


def test_other_kinds_and_places_are_named(tmp_path) -> None:
    pictures = draw(tmp_path)
    with pytest.raises(ImageError, match=r"data: .*none is no folder"):
        AnnotatedPictures(tmp_path / "none", tmp_path / "boxes.csv")
    for name in ("boxes.xml", "boxes"):
        with pytest.raises(InputError, match=r"must be a table .* or the JSON of COCO"):
            AnnotatedPictures(pictures, tmp_path / name)
