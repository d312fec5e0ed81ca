"""Labels as data sets give them, class numbers or names of classes, as indices of classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torchattr.errors import InputError


def class_numbers(
    given: Iterable[Any], names: Sequence[str] | None, what: str
) -> tuple[list[int | None], list[str] | None]:
    """Return the class of each picture, and the names of the classes.

    Nothing (`None`, an empty text, NaN) and negative numbers stand for an unknown class.

    Args:
        given: for each picture, a class number or a class name; text is read as numbers if all of
            it is.
        names: the names of the classes; `None` takes those that occur, sorted.
        what: the data set, for errors.

    Raises:
        InputError: a label that names no class.

    >>> class_numbers(["dog", "cat", ""], None, "the table")
    ([1, 0, None], ['cat', 'dog'])
    >>> class_numbers(["7", None, -1], None, "the table")
    ([7, None, None], None)
    """
    values = [None if _is_missing(one) else one for one in given]
    known = [one for one in values if one is not None]
    if names is None and not all(map(_is_number, known)):
        names = sorted({str(one) for one in known})
    indices = {name: index for index, name in enumerate(names or ())}
    found = [None if one is None else class_number(one, indices, what) for one in values]
    return found, None if names is None else list(names)


def class_number(label: Any, indices: Mapping[str, int], what: str) -> int | None:
    """Return the class that one label names; `None` for a negative number.

    Args:
        label: a class number or a class name.
        indices: the class of each name; empty if classes have no names.
        what: the picture or data set, for errors.

    Raises:
        InputError: it is neither.
    """
    if label in indices:
        return indices[label]
    number = int(label) if _is_number(label) else None
    if number is None or number >= (len(indices) or number + 1):
        allowed = f"an index or a name of the {len(indices)} classes" if indices else "a number"
        raise InputError(f"{what} has the label {label!r}, which is not {allowed}")
    return number if number >= 0 else None


def _is_missing(value: Any) -> bool:
    # NaN is the one value that differs from itself.
    return value is None or value == "" or bool(value != value)


def _is_number(value: Any) -> bool:
    try:
        return int(value) == (value if not isinstance(value, str) else int(value))
    except (TypeError, ValueError):
        return False
