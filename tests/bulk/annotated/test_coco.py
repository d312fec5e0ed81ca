"""Annotations of COCO."""

from __future__ import annotations

import json

import pytest

from torchattr.bulk.annotated.annotation import Annotation
from torchattr.bulk.annotated.coco import annotations_of_coco
from torchattr.errors import ImageError, InputError
from torchattr.models import Box

WHOLE = {
    "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 30}],
    "categories": [{"id": 90, "name": "cat"}, {"id": 1, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 4]},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0.5, 0, 2, 2]},
    ],
}


def written(tmp_path, content):
    file = tmp_path / "boxes.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_classes_are_names_and_boxes_have_edges(tmp_path) -> None:
    assert list(annotations_of_coco(written(tmp_path, WHOLE))) == [
        Annotation("a.png", "cat", (Box(1, 2, 4, 6),), (40, 30)),
        Annotation("a.png", "dog", (Box(0.5, 0, 2.5, 2),), (40, 30)),
    ]


def test_sizes_may_be_missing(tmp_path) -> None:
    content = {**WHOLE, "images": [{"id": 7, "file_name": "a.png"}]}
    assert [one.size for one in annotations_of_coco(written(tmp_path, content))] == [None, None]


def annotation(**changed):
    return {**WHOLE, "annotations": [{**WHOLE["annotations"][0], **changed}]}


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("no json", ImageError, "boxes.json cannot be read"),
        ([], InputError, "it has no images and no annotations and no categories"),
        ({**WHOLE, "categories": {}}, InputError, "must have the lists .* it has no categories"),
        (
            {**WHOLE, "images": [{"id": 7}]},
            InputError,
            "images: entry 1 must have id and file_name",
        ),
        ({**WHOLE, "annotations": [3]}, InputError, "annotation 1 must be an object, got 3"),
        (annotation(image_id=8), InputError, "image_id is 8, which the file does not describe"),
        (annotation(category_id=None), InputError, "category_id is None, which the file does not"),
        (annotation(bbox=[1, 2, 3]), InputError, r"bbox must be \[left, top, width, height\]"),
        (annotation(bbox=[1, 2, 3, "4px"]), InputError, "bbox must be a number, got '4px'"),
    ],
)
def test_what_is_missing_is_named(tmp_path, content, error, said) -> None:
    with pytest.raises(error, match=said):
        list(annotations_of_coco(written(tmp_path, content)))


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        list(annotations_of_coco(tmp_path / "boxes.json"))
