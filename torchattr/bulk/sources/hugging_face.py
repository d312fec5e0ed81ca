"""Data sets of Hugging Face."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from torchattr.bulk.sources.labels import class_numbers
from torchattr.bulk.sources.numbering import numbered
from torchattr.bulk.sources.pictures import Pictures, sorted_ids
from torchattr.errors import InputError, PackageError
from torchattr.models import decode_image, read_image


class HuggingFacePictures(Pictures):
    """The pictures of a `datasets.Dataset`: a split whose rows can be read in any order.

    Files are decoded as those of a folder are, not by `datasets`.

    Args:
        dataset: the split, such as `load_dataset(name, split="validation")`.
        image: the column of images; `None` takes the only one.
        label: the column of labels; `None` takes `label`, if there is one.
        id: a column of ids; `None` numbers the rows, so an id stays only while the rows do.
        class_names: the names of the classes; `None` takes those that the data set gives.

    Raises:
        InputError: it is no split, has no such column, or an id occurs twice.
        PackageError: `datasets` is not installed.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        image: str | None = None,
        label: str | None = None,
        id: str | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        rows = _plain(dataset)
        kinds: Mapping[str, Any] = rows.features
        image = image if image is not None else _only_image(kinds)
        label = label if label is not None or "label" not in kinds else "label"
        _check(kinds, (image, label, id))
        self._image = image
        self._files = _undecoded(rows, image)
        given = numbered(len(rows)) if id is None else [str(one) for one in _values(rows, id)]
        self._ids = sorted_ids(given, _WHAT)
        self._order = sorted(range(len(given)), key=given.__getitem__)
        labels = [None] * len(rows) if label is None else _values(rows, label)
        if class_names is None and label is not None:
            class_names = getattr(kinds[label], "names", None)
        self._labels, self._class_names = class_numbers(labels, class_names, _WHAT)
        self._fingerprint = str(getattr(dataset, "_fingerprint", ""))

    def ids(self) -> Sequence[str]:
        return self._ids

    def read(self, position: int) -> Image.Image:
        found = self._file(position)
        if found["bytes"] is None:
            return read_image(found["path"])
        return decode_image(io.BytesIO(found["bytes"]), self._ids[position])

    def label(self, position: int) -> int | None:
        return self._labels[self._order[position]]

    def path(self, position: int) -> str | None:
        found = self._file(position)
        return found["path"] if found["bytes"] is None else None

    def class_names(self) -> Sequence[str] | None:
        return self._class_names

    def described(self) -> Mapping[str, Any]:
        return {"kind": "hugging face", "fingerprint": self._fingerprint}

    def _file(self, position: int) -> Mapping[str, Any]:
        found = self._files[self._order[position]][self._image]
        return found if found is not None else {"bytes": b"", "path": None}


_WHAT = "the data set"


def _plain(dataset: Any) -> Any:
    """Return a split without the format or transform that it may have been given."""
    if hasattr(dataset, "keys"):
        raise InputError(
            f"data holds the splits {', '.join(dataset.keys())}; pass one of them, such as"
            f" data[{next(iter(dataset.keys()), 'train')!r}]"
        )
    if not hasattr(dataset, "with_format") or not hasattr(dataset, "__len__"):
        raise InputError(
            f"data must be a split whose rows can be read in any order, got"
            f" {type(dataset).__name__}; load it without streaming"
        )
    return dataset.with_format(None)


def _undecoded(rows: Any, image: str) -> Any:
    try:
        from datasets import Image as ImageColumn
    except ImportError as error:
        raise PackageError(
            f"data sets of Hugging Face need datasets, which could not be imported ({error});"
            " install it with: pip install datasets"
        ) from error
    if not isinstance(rows.features[image], ImageColumn):
        raise InputError(
            f"the column {image!r} of the data set does not hold images; cast it with"
            f" data.cast_column({image!r}, datasets.Image())"
        )
    return rows.select_columns([image]).cast_column(image, ImageColumn(decode=False))


def _values(rows: Any, column: str) -> Sequence[Any]:
    return rows.select_columns([column])[:][column]


def _only_image(kinds: Mapping[str, Any]) -> str:
    images = [name for name, kind in kinds.items() if type(kind).__name__ == "Image"]
    if len(images) != 1:
        raise InputError(
            f"the data set has {len(images)} columns of images, so image must name one of:"
            f" {', '.join(images or kinds)}"
        )
    return images[0]


def _check(kinds: Mapping[str, Any], columns: Sequence[str | None]) -> None:
    for column in columns:
        if column is not None and column not in kinds:
            raise InputError(f"{_WHAT} has no column {column!r}; there are: {', '.join(kinds)}")
