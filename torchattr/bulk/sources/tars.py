"""Tar files in the layout of WebDataset, where the files of a sample share their names' stems."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from torchattr.bulk.sources.labels import class_number
from torchattr.bulk.sources.pictures import Pictures, sorted_ids
from torchattr.bulk.sources.tar_listing import Place, found_tars, samples_of
from torchattr.errors import ImageError, InputError
from torchattr.models import SUFFIXES, decode_image

_NOWHERE = (0, -1)


class TarPictures(Pictures):
    """The pictures of tar files in the layout of WebDataset.

    `000.jpg` and `000.cls` are the picture and the label of the sample `000`; its id is
    `shard-00/000` if the tar is `shard-00.tar`. The tars are listed once, without reading their
    pictures; each is then read where it lies, in any order.

    Args:
        tars: files, glob patterns, or patterns with braces: `shards/{000..127}.tar`.
        picture: what follows the first dot in the names of pictures, such as `jpg`; `None` takes
            the only picture of each sample.
        label: the same of labels, which are texts with a class number or a class name; `json:KEY`
            for an entry of a JSON file.
        class_names: the names of the classes.

    Raises:
        ImageError: a tar is missing, damaged or compressed.
        InputError: there is no picture in them, a sample has several, or an id occurs twice.

    >>> import tarfile
    >>> from tempfile import TemporaryDirectory
    >>> from torchattr.models.collage import examples
    >>> with TemporaryDirectory() as folder:
    ...     with tarfile.open(f"{folder}/a.tar", "w") as tar:
    ...         tar.add(examples()[0].path, "cat.jpg")
    ...     tars = TarPictures(f"{folder}/*.tar")
    ...     print(tars.ids(), tars.read(0).mode, tars.label(0))
    ['a/cat'] RGB None
    """

    def __init__(
        self,
        tars: str | Path | Sequence[str | Path],
        *,
        picture: str | None = None,
        label: str = "cls",
        class_names: Sequence[str] | None = None,
    ) -> None:
        self._tars = found_tars(tars)
        self._class_names = None if class_names is None else list(class_names)
        labels, _, self._key = label.partition(":")
        listed = [
            (f"{Path(tar).stem}/{key}", (number, *place, *files.get(labels, _NOWHERE)))
            for number, tar in enumerate(self._tars)
            for key, files, place in _with_pictures(tar, picture)
        ]
        what = f"the data set {tars}"
        self._ids = sorted_ids((one for one, _ in listed), what)
        # A row for each picture: its tar, where it lies, where its label lies.
        self._places = np.array([places for _, places in sorted(listed)])

    def ids(self) -> Sequence[str]:
        return self._ids

    def read(self, position: int) -> Image.Image:
        tar, start, size, _, _ = self._places[position].tolist()
        name = self._ids[position]
        return decode_image(io.BytesIO(self._bytes(tar, start, size, name)), name)

    def label(self, position: int) -> int | None:
        tar, _, _, start, size = self._places[position].tolist()
        if (start, size) == _NOWHERE:
            return None
        name = self._ids[position]
        said = _label(self._bytes(tar, start, size, name), self._key, name)
        indices = {one: index for index, one in enumerate(self._class_names or ())}
        return None if said is None else class_number(said, indices, name)

    def path(self, position: int) -> str:
        """Return the tar that holds a picture."""
        return self._tars[self._places[position, 0]]

    def class_names(self) -> Sequence[str] | None:
        return self._class_names

    def described(self) -> Mapping[str, Any]:
        return {"kind": "tars", "tars": [os.path.abspath(tar) for tar in self._tars]}

    def _bytes(self, tar: int, start: int, size: int, name: str) -> bytes:
        # Opened anew each time: nothing is shared between processes, and decoding takes longer.
        try:
            with open(self._tars[tar], "rb") as file:
                file.seek(start)
                return file.read(size)
        except OSError as error:
            raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from error


def _with_pictures(
    tar: str, picture: str | None
) -> Iterator[tuple[str, Mapping[str, Place], Place]]:
    """Yield the samples that have a picture: the key, its files, and the place of the picture."""
    for key, files in samples_of(tar).items():
        pictures = [kind for kind in files if _is_picture(kind, picture)]
        if len(pictures) > 1:
            raise InputError(
                f"{tar}: the sample {key} has several pictures, {', '.join(pictures)}; choose one"
                f" with picture={pictures[0]!r}"
            )
        if pictures:
            yield key, files, files[pictures[0]]


def _is_picture(kind: str, wanted: str | None) -> bool:
    return f".{kind}".endswith(SUFFIXES) if wanted is None else kind == wanted.lower()


def _label(content: bytes, key: str, name: str) -> Any:
    text = content.decode(errors="replace").strip()
    if not key:
        return text or None
    try:
        return json.loads(text).get(key)
    except (ValueError, AttributeError) as error:
        raise InputError(f"{name}: the label is no JSON object ({error}); write it anew") from error
