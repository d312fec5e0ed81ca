"""File names for the results of each picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from unicodedata import normalize

from torchattr.core.printable import printable
from torchattr.errors import InputError

LONGEST = 200
"""Maximum length of a name in bytes: file systems allow 255, with a number and a suffix."""

_FORBIDDEN = '<>:"/\\|?*'
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def distinct_names(wanted: Sequence[str]) -> list[str]:
    """Number equal names, ignoring case; the first one keeps its name.

    Raises:
        InputError: a name that is not a plain file name.

    >>> distinct_names(["cat", "dog", "Cat", "cat-2"])
    ['cat', 'dog', 'Cat-3', 'cat-2']
    """
    for name in wanted:
        _check(name)
    reserved = {_folded(name) for name in wanted}
    taken: set[str] = set()
    given = []
    for name in wanted:
        free = name if _folded(name) not in taken else _numbered(name, taken | reserved)
        taken.add(_folded(free))
        given.append(free)
    return given


def plain_name(text: str) -> str:
    r"""Return a text such as the stem of a picture as a name that any file system takes.

    Control characters, bytes that are not UTF-8 and what Windows reserves are replaced; a name that
    is too long is cut, with a digest that keeps it distinct.

    >>> plain_name("my cat (2)"), plain_name("red\x1b[31m"), plain_name("aux"), plain_name("..")
    ('my cat (2)', 'red_[31m', 'aux_', '_')
    """
    safe = "".join(
        one if one.isprintable() and one not in _FORBIDDEN else "_" for one in text
    ).rstrip(". ")
    if _RESERVED.fullmatch(safe):
        stem, dot, rest = safe.partition(".")
        safe = f"{stem}_{dot}{rest}"
    return _shortened(safe) or "_"


def file_name(text: str) -> str:
    """Return a plain file name for any text, such as the name of a layer.

    >>> file_name("block/relu#2"), file_name("..")
    ('block_relu_2', '_')
    """
    return plain_name(re.sub(r"[^\w.-]", "_", text).strip("."))


def _shortened(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= LONGEST:
        return name
    digest = blake2b(encoded, digest_size=4).hexdigest()
    # A character that was cut in two is dropped.
    return f"{encoded[: LONGEST - 9].decode(errors='ignore')}-{digest}"


def _folded(name: str) -> str:
    """Return a key that is equal for names that some file systems do not distinguish."""
    return normalize("NFC", normalize("NFC", name).casefold())


def _numbered(name: str, taken: set[str]) -> str:
    number = 2
    while _folded(f"{name}-{number}") in taken:
        number += 1
    return f"{name}-{number}"


def _check(name: str) -> None:
    if not name or name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise InputError(
            f"names must be file names without a folder, got {name!r}; give out the folder instead"
        )
    if name != plain_name(name):
        raise InputError(
            f"names must be file names that are valid on any system, got {printable(repr(name))};"
            f" use {plain_name(name)!r}, for example"
        )
