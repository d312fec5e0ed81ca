"""Boxes from the annotations of COCO and its relatives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torchattr.bulk.annotated.annotation import Annotation, as_number
from torchattr.errors import ImageError, InputError
from torchattr.models import Box

PARTS = ("images", "annotations", "categories")


def annotations_of_coco(file: str | Path) -> Iterator[Annotation]:
    """Yield the boxes of a file of COCO's format, a row for each annotation.

    Of it are read `images` (`id`, `file_name`, and `width` and `height` where given), `annotations`
    (`image_id`, `category_id`, and `bbox`: left, top, width and height) and `categories` (`id` and
    `name`). The class is the category's name, since its id is a number of the data set's own.

    Raises:
        ImageError: the file cannot be read, or is no JSON.
        InputError: something of these is missing, or names what is not there.
    """
    what, content = f"the file {file}", _content(file)
    images = _by_id(content["images"], "file_name", what, "images")
    categories = _by_id(content["categories"], "name", what, "categories")
    for number, row in enumerate(content["annotations"], 1):
        where = f"{what}, annotation {number}"
        if not isinstance(row, Mapping):
            raise InputError(f"{where} must be an object, got {row!r}")
        image = _named(row, "image_id", images, f"{where}: image_id")
        category = _named(row, "category_id", categories, f"{where}: category_id")
        box = _box(row.get("bbox"), f"{where}: bbox")
        yield Annotation(
            str(image["file_name"]), str(category["name"]).strip(), (box,), _size(image, what)
        )


def _content(file: str | Path) -> Mapping[str, Any]:
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"the file {file} cannot be read ({reason})") from error
    missing = [
        part
        for part in PARTS
        if not isinstance(content, Mapping) or not isinstance(content.get(part), list)
    ]
    if missing:
        raise InputError(
            f"the file {file} must have the lists {', '.join(PARTS)}, as files of COCO do; it has"
            f" no {' and no '.join(missing)}"
        )
    return dict(content)


def _by_id(rows: list[Any], needed: str, what: str, part: str) -> dict[Any, Mapping[str, Any]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or "id" not in row or needed not in row:
            raise InputError(f"{what}, {part}: entry {number} must have id and {needed}")
    return {str(row["id"]): row for row in rows}


def _named(
    row: Mapping[str, Any], key: str, known: Mapping[Any, Mapping[str, Any]], where: str
) -> Mapping[str, Any]:
    found = known.get(str(row.get(key)))
    if found is None:
        raise InputError(f"{where} is {row.get(key)!r}, which the file does not describe")
    return found


def _box(given: Any, where: str) -> Box:
    if not isinstance(given, list) or len(given) != 4:
        raise InputError(f"{where} must be [left, top, width, height], got {given!r}")
    left, top, width, height = (as_number(value, where) for value in given)
    return Box(left, top, left + width, top + height)


def _size(image: Mapping[str, Any], what: str) -> tuple[int, int] | None:
    if image.get("width") is None or image.get("height") is None:
        return None
    where = f"{what}, images: the size of {image['file_name']}"
    return round(as_number(image["width"], where)), round(as_number(image["height"], where))
