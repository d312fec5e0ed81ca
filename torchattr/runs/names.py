"""What the files of each picture are called."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torchattr.errors import InputError


def distinct_names(wanted: Sequence[str]) -> list[str]:
    """Number what is called the same: the first keeps its name, also where case does not count.

    Raises:
        InputError: a name that is no plain file name.

    >>> distinct_names(["cat", "dog", "Cat", "cat-2"])
    ['cat', 'dog', 'Cat-3', 'cat-2']
    """
    for name in wanted:
        _check(name)
    reserved = {name.casefold() for name in wanted}
    taken: set[str] = set()
    given = []
    for name in wanted:
        free = name if name.casefold() not in taken else _numbered(name, taken | reserved)
        taken.add(free.casefold())
        given.append(free)
    return given


def file_name(text: str) -> str:
    """Make a plain file name of any text, such as the name of a layer.

    >>> file_name("block/relu#2"), file_name("..")
    ('block_relu_2', '_')
    """
    return re.sub(r"[^\w.-]", "_", text).strip(".") or "_"


def _numbered(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}-{number}".casefold() in taken:
        number += 1
    return f"{name}-{number}"


def _check(name: str) -> None:
    if not name or name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise InputError(
            f"names must be file names without a folder, got {name!r}; give out the folder instead"
        )
