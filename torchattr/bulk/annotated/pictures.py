"""A folder of pictures with the boxes of their objects."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from torchattr.bulk.annotated.annotation import Annotation, joined
from torchattr.bulk.annotated.box_table import annotations_of_table
from torchattr.bulk.annotated.coco import annotations_of_coco
from torchattr.bulk.sources import Pictures
from torchattr.bulk.sources.columns import SUFFIXES
from torchattr.errors import ImageError, InputError
from torchattr.models import read_image

COCO = ".json"


class AnnotatedPictures(Pictures):
    """The annotated pictures of a folder, one for each class that a picture has boxes of.

    Args:
        folder: the folder.
        boxes: the file of their boxes: a table, see :func:`annotations_of_table`, or the JSON of
            COCO, see :func:`annotations_of_coco`. Its paths are relative to the folder.

    Raises:
        ImageError: the folder does not exist, or the file cannot be read.
        InputError: the file is of another kind, or something is missing in it.
        PackageError: a Parquet file, and pyarrow is not installed.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "boxes.csv")
    ...     _ = file.write_text("path,label,x0,y0,x1,y1\\na.png,cat,0,0,4,4\\na.png,dog,4,4,8,8\\n")
    ...     AnnotatedPictures(folder, file).ids()
    ['a.png (cat)', 'a.png (dog)']
    """

    def __init__(self, folder: str | Path, boxes: str | Path) -> None:
        self._folder = os.path.expanduser(os.fspath(folder))
        self._file = os.path.expanduser(os.fspath(boxes))
        if not os.path.isdir(self._folder):
            raise ImageError(f"data: {folder} is no folder; name the one that the pictures are in")
        self.annotations: Sequence[Annotation] = joined(_rows(self._file), f"the file {boxes}")

    def ids(self) -> Sequence[str]:
        return [one.name for one in self.annotations]

    def read(self, position: int) -> Image.Image:
        return read_image(self.path(position))

    def path(self, position: int) -> str:
        return os.path.join(self._folder, self.annotations[position].path)

    def described(self) -> Mapping[str, Any]:
        places = {"folder": self._folder, "boxes": self._file}
        return {"kind": "boxes", **{name: os.path.abspath(one) for name, one in places.items()}}


def _rows(file: str) -> Any:
    suffix = Path(file).suffix.lower()
    if suffix == COCO:
        return annotations_of_coco(file)
    if suffix in SUFFIXES:
        return annotations_of_table(file)
    raise InputError(
        f"boxes: {file} must be a table ({', '.join(SUFFIXES)}) or the JSON of COCO ({COCO}), got"
        f" {suffix or 'no suffix'}"
    )
