"""The samples of a tar file in the layout of WebDataset, and where their files lie in it."""

from __future__ import annotations

import glob
import re
import tarfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from torchattr.errors import ImageError, InputError

Place: TypeAlias = "tuple[int, int]"
"""Where a file begins in its tar, and its size, in bytes."""
Samples: TypeAlias = "dict[str, dict[str, Place]]"
"""The places of files by sample, and by what follows the first dot of their names."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def samples_of(tar: str) -> Samples:
    """List the samples of a tar; nothing but its headers is read.

    Raises:
        ImageError: it is damaged, compressed or no tar.
        InputError: two of its files have one name.
    """
    samples: Samples = {}
    for name, place in _files(tar):
        folder, slash, file = name.rpartition("/")
        stem, dot, kind = file.partition(".")
        files = samples.setdefault(f"{folder}{slash}{stem}", {})
        if kind.lower() in files:
            raise InputError(f"{tar} holds {name} twice; write the tar anew")
        if dot and stem:
            files[kind.lower()] = place
    return samples


def _files(tar: str) -> Iterator[tuple[str, Place]]:
    try:
        # Files of a compressed tar cannot be read in any order.
        with tarfile.open(tar, "r:") as opened:
            for member in opened:
                if member.isfile():
                    yield member.name.removeprefix("./"), (member.offset_data, member.size)
                # The module keeps each member, which would be a gigabyte for a million; that it
                # does is not in its stubs.
                opened.members = []  # type: ignore[attr-defined]
            _check_end(opened)
    except tarfile.TarError as error:
        raise ImageError(
            f"{tar}: damaged, compressed or no tar ({error}); unpack a .tar.gz to a .tar, whose"
            " pictures can be read in any order"
        ) from error
    except OSError as error:
        raise ImageError(f"{tar}: cannot be read ({error.strerror or error})") from error


def _check_end(opened: tarfile.TarFile) -> None:
    """Check that a tar was read to its end: the module takes a damaged header for it."""
    with open(opened.name or "", "rb") as file:
        file.seek(opened.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"no header after {opened.offset} bytes")


def found_tars(tars: str | Path | Sequence[str | Path]) -> list[str]:
    """Return the files that names and patterns stand for, each once, in order.

    Raises:
        ImageError: a pattern has no match.

    >>> found_tars("train-{08..10}.tar")
    ['train-08.tar', 'train-09.tar', 'train-10.tar']
    """
    given = [tars] if isinstance(tars, (str, Path)) else tars
    written = chain.from_iterable(_unfolded(str(one)) for one in given)
    return list(dict.fromkeys(chain.from_iterable(map(_matched, written))))


def _matched(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        return [pattern]
    matches = sorted(glob.glob(pattern, recursive=True))
    if not matches:
        raise ImageError(f"{pattern}: the pattern matches no tar")
    return matches


def _unfolded(pattern: str) -> list[str]:
    """Return the names that a pattern with braces stands for: `{0..2}` or `{train,val}`."""
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    start, end = pattern[: braces.start()], pattern[braces.end() :]
    return [f"{start}{one}{rest}" for one in _alternatives(braces[1]) for rest in _unfolded(end)]


def _alternatives(text: str) -> list[str]:
    bounds = _RANGE.fullmatch(text)
    if bounds is None:
        return text.split(",")
    first, last = bounds.groups()
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
