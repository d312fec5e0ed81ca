"""Map-style data sets of PyTorch, such as those of torchvision."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Subset

from torchattr.bulk.sources.items import as_picture, image_of, label_of, plain_label
from torchattr.bulk.sources.labels import class_number, class_numbers
from torchattr.bulk.sources.numbering import number_id
from torchattr.bulk.sources.pictures import Picture, Pictures, sorted_ids
from torchattr.errors import ImageError, InputError
from torchattr.models import reading


class DatasetPictures(Pictures):
    """The pictures of a map-style data set: any object with `len(data)` and `data[index]`.

    An item is an image, a tuple of an image and its label, or a dict with `image` and `label`. PIL
    images and `uint8` values are images, which the model's own transform preprocesses;
    floating-point tensors `(C, H, W)` are the model's input as they are.

    Args:
        dataset: the data set.
        ids: an id for each item. `None` takes the paths inside the data set's folder where it lists
            them as `samples`, as torchvision's `ImageFolder` does; else the numbers of the items,
            so an id stays only while the items do. A `Subset` keeps the ids of the whole.
        labels: a class number or name for each item. `None` takes the data set's `targets`; without
            them, an item is read once more for its label.
        class_names: the names of the classes; `None` takes the data set's `classes`.

    Raises:
        InputError: the data set is empty or has no length, ids or labels are not one for each item,
            an id occurs twice, or a label names no class.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> data = TensorDataset(torch.rand(2, 3, 4, 4), torch.tensor([1, 0]))
    >>> pictures = DatasetPictures(data, ids=["b", "a"])
    >>> pictures.ids(), pictures.read(0).shape, pictures.label(0)
    (['a', 'b'], torch.Size([3, 4, 4]), 0)
    """

    def __init__(
        self,
        dataset: Any,
        *,
        ids: Sequence[Any] | None = None,
        labels: Sequence[Any] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self._dataset = dataset
        count = _length(dataset)
        whole, items = _whole(dataset, range(count))
        files = _files(whole)
        if ids is None:
            ids = [_own_id(whole, files, item) for item in items]
        if labels is None and len(targets := getattr(whole, "targets", ())) > 0:
            labels = [targets[item] for item in items]
        _check_counts(count, ids=ids, labels=labels)
        given = [str(one) for one in ids]
        self._ids = sorted_ids(given, _WHAT)
        self._order = sorted(range(count), key=given.__getitem__)
        self._paths = [files[items[index]] for index in self._order] if files else None
        names = class_names if class_names is not None else getattr(whole, "classes", None)
        numbers, self._class_names = class_numbers(map(plain_label, labels or ()), names, _WHAT)
        self._labels = None if labels is None else [numbers[index] for index in self._order]

    def ids(self) -> Sequence[str]:
        return self._ids

    def read(self, position: int) -> Picture:
        return as_picture(image_of(self._item(position)), self._ids[position])

    def label(self, position: int) -> int | None:
        if self._labels is not None:
            return self._labels[position]
        found = label_of(self._item(position))
        indices = {name: index for index, name in enumerate(self._class_names or ())}
        return None if found is None else class_number(found, indices, self._ids[position])

    def path(self, position: int) -> str | None:
        return None if self._paths is None else self._paths[position]

    def class_names(self) -> Sequence[str] | None:
        return self._class_names

    def described(self) -> Mapping[str, Any]:
        whole, _ = _whole(self._dataset, ())
        root = getattr(whole, "root", None)
        where = {} if root is None else {"folder": os.path.abspath(root)}
        return {"kind": type(whole).__name__, **where}

    def _item(self, position: int) -> Any:
        name = self._ids[position]
        try:
            with reading(name):
                return self._dataset[self._order[position]]
        except RuntimeError as error:
            # torchvision's own decoders raise it for damaged files.
            raise ImageError(f"{name}: cannot be read ({error})") from error


_WHAT = "the data set"


def _length(dataset: Any) -> int:
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise InputError(
            f"data must be a map-style data set, with a length and items by index, got"
            f" {type(dataset).__name__}; pass a list of its items, for example"
        )
    return len(dataset)


def _whole(dataset: Any, items: Sequence[int]) -> tuple[Any, Sequence[int]]:
    """Return the data set that subsets were taken of, and the numbers of their items in it."""
    while isinstance(dataset, Subset):
        chosen = dataset.indices
        items = [int(chosen[item]) for item in items]
        dataset = dataset.dataset
    return dataset, items


def _files(dataset: Any) -> list[str]:
    """Return the files of a data set that lists them as torchvision's folders do."""
    samples = getattr(dataset, "samples", ())
    listed = isinstance(samples, Sequence) and all(
        isinstance(one, tuple) and isinstance(one[0], (str, os.PathLike)) for one in samples
    )
    return [os.fspath(one[0]) for one in samples] if listed else []


def _own_id(dataset: Any, files: Sequence[str], item: int) -> str:
    if not files:
        return number_id(item)
    root = getattr(dataset, "root", None)
    inside = files[item] if root is None else os.path.relpath(files[item], root)
    return inside.replace(os.sep, "/")


def _check_counts(count: int, **given: Sequence[Any] | None) -> None:
    for argument, values in given.items():
        if values is not None and len(values) != count:
            raise InputError(f"{argument} has {len(values)} entries for {count} items of data")
