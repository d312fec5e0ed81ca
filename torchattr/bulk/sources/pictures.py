"""The interface of data sets: pictures by position, each with an id of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from PIL import Image
from torch import Tensor

from torchattr.errors import InputError

Picture: TypeAlias = "Image.Image | Tensor"
"""What a source reads: an RGB image, which is preprocessed, or a model's input `(C, H, W)`."""


class Pictures(ABC):
    """The pictures of a data set by position, each with an id of its own.

    An id names a picture across runs: shards are cut from the sorted ids, random methods draw their
    seeds from them, and a resumed run compares them. So they may depend neither on the order in
    which files are listed nor on anything random.

    A source is sent to the workers that read: it must be picklable, and cheap to pickle; a file
    that it holds open is opened again by each worker, at its first `read`. It is read from several
    processes at once, and never changes.

    >>> class Plain(Pictures):
    ...     def ids(self):
    ...         return ["dark", "light"]
    ...
    ...     def read(self, position):
    ...         return Image.new("RGB", (4, 4), ("black", "white")[position])
    >>> Plain().read(1).getpixel((0, 0)), Plain().label(1), Plain().path(1)
    ((255, 255, 255), None, None)
    """

    @abstractmethod
    def ids(self) -> Sequence[str]:
        """Return the ids, sorted as strings and unique; see :func:`sorted_ids`.

        It is asked for a few times by each process; `read`, `label` and `path` count in its order.
        """

    @abstractmethod
    def read(self, position: int) -> Picture:
        """Return the picture at a position of :meth:`ids`.

        Either an RGB image, which the model's own transform preprocesses, or a floating-point
        tensor `(C, H, W)`, which already is the model's input.

        Raises:
            ImageError: it cannot be read. The reason is recorded, and the run goes on; any other
                error ends the run.
        """

    def label(self, position: int) -> int | None:
        """Return the class of a picture as an index of :meth:`class_names`; `None` if unknown."""
        del position
        return None

    def class_names(self) -> Sequence[str] | None:
        """Return the names of the classes that labels are indices of; `None` if unknown.

        These are the data set's classes: *not* necessarily the model's.
        """
        return None

    def path(self, position: int) -> str | None:
        """Return where a picture lies, for the table of results; `None` if it is no file."""
        del position
        return None

    def described(self) -> Mapping[str, Any]:
        """Return the kind of the data set and where it lies, as plain data for the record."""
        return {"kind": type(self).__name__}


def sorted_ids(ids: Iterable[str], what: str) -> list[str]:
    """Return ids in the order that :class:`Pictures` asks for.

    Args:
        ids: the ids, in any order.
        what: the data set, for the error.

    Raises:
        InputError: there are none, or one that occurs twice.

    >>> sorted_ids(["b", "a"], "letters")
    ['a', 'b']
    """
    found = sorted(ids)
    if not found:
        raise InputError(f"{what} holds no picture; a run needs at least one")
    twice = next((one for one, following in pairwise(found) if one == following), None)
    if twice is not None:
        raise InputError(f"{what} has the id {twice!r} more than once; give each picture its own")
    return found
