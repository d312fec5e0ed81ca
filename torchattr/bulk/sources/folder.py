"""A folder of pictures, with or without a subfolder for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from torchattr.bulk.sources.pictures import Pictures, sorted_ids
from torchattr.errors import ImageError
from torchattr.models import SUFFIXES, read_image


class PictureFolder(Pictures):
    """The pictures of a folder and its subfolders; the folder at the top of each is its class.

    An id is the path inside the folder, with `/` on every system. Labels count the subfolders in
    the order of their names, as torchvision's `ImageFolder` does; a picture directly in the folder
    has none.

    Args:
        folder: the folder.

    Raises:
        ImageError: it is no folder, or cannot be listed.
        InputError: there is no picture in it.

    >>> from torchattr.models.collage import examples
    >>> folder = PictureFolder(examples()[0].path.parent)
    >>> folder.ids()[0], folder.label(0), folder.read(0).mode
    ('astronaut_cat.jpg', None, 'RGB')
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = os.fspath(folder)
        if not os.path.isdir(self._folder):
            raise ImageError(f"{folder}: no such folder")
        self._ids = sorted_ids(_listed(self._folder, ""), f"the folder {folder}")

    def ids(self) -> Sequence[str]:
        return self._ids

    def read(self, position: int) -> Image.Image:
        return read_image(self.path(position))

    def path(self, position: int) -> str:
        return os.path.join(self._folder, self._ids[position])

    def label(self, position: int) -> int | None:
        top, slash, _ = self._ids[position].partition("/")
        return self._classes[top] if slash else None

    def class_names(self) -> Sequence[str] | None:
        return list(self._classes) or None

    def described(self) -> Mapping[str, Any]:
        return {"kind": "folder", "folder": os.path.abspath(self._folder)}

    @cached_property
    def _classes(self) -> dict[str, int]:
        tops = sorted({top for top, slash, _ in (one.partition("/") for one in self._ids) if slash})
        return {name: index for index, name in enumerate(tops)}


def _listed(folder: str, prefix: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    yield from _listed(entry.path, f"{prefix}{entry.name}/")
                elif entry.name.lower().endswith(SUFFIXES):
                    yield f"{prefix}{entry.name}"
    except OSError as error:
        raise ImageError(f"{folder}: cannot be listed ({error.strerror})") from error
