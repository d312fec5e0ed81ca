"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

from torchattr.errors import TorchattrError


def expanded(given: str | Path, error: type[TorchattrError], what: str = "") -> Path:
    """Return a path that a user gave, with `~` expanded.

    A shell expands it only at the beginning of a word, so not in `--load=~/mine.py`.

    Args:
        given: the path.
        error: what is raised where there is no such user.
        what: how the message begins, such as the name of the argument.

    >>> from torchattr.errors import ImageError
    >>> expanded("~/photo.png", ImageError) == Path.home() / "photo.png"
    True
    """
    try:
        return Path(given).expanduser()
    except RuntimeError as reason:
        raise error(f"{what}{given} cannot be found ({reason}); write out the path") from reason
