"""Ids for what has no names: the position in the data set."""

from __future__ import annotations


def number_id(position: int) -> str:
    """Return a position as an id; ids sort as positions do.

    >>> number_id(42)
    '000000042'
    """
    # Of one width for every data set, so that an id stays when pictures are appended.
    return f"{position:09d}"


def numbered(count: int) -> list[str]:
    """Return the ids of as many pictures.

    >>> numbered(2)
    ['000000000', '000000001']
    """
    return [number_id(position) for position in range(count)]
