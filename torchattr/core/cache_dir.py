"""Where compiled kernels and what was measured are kept between processes.

What is loaded from there runs, so the folder must be one that nobody else can write to; and a file
is used only if it is whole: it ends with a digest of the rest.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import get_ident

DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """Return where compiled kernels are kept: `torchattr/kernels` in the user's cache folder.

    Where that is no folder of the user's own, it is a private one that is removed at exit.
    """
    base = _user_cache()
    if base is None:
        return private_folder()
    folder = base / "torchattr" / "kernels"
    with suppress(OSError):
        if all(_is_private(part) for part in (folder.parent, folder)):
            return folder
    return private_folder()


def private_folder() -> Path:
    """Return a new folder of this process, removed when it exits."""
    return _private_folder(os.getpid())


@cache
def _private_folder(process: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="torchattr-"))
    atexit.register(_remove, folder, process)
    return folder


def _remove(folder: Path, process: int) -> None:
    """Remove a folder, unless this is a fork of the process that made it."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _user_cache() -> Path | None:
    """Return the user's cache folder; none if all that is named is relative, and so anywhere."""
    if sys.platform == "win32":
        named = [os.environ.get("LOCALAPPDATA", "")]
    else:
        named = [os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")]
    return next((Path(one) for one in named if os.path.isabs(one)), None)


def _is_private(folder: Path) -> bool:
    """Whether a folder, made now if need be, is one that only this user can write to."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform == "win32":
        return True
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
    return True


@contextmanager
def put_in_place(place: Path) -> Iterator[Path]:
    """Yield another name to write under, so that no other process ever reads a part.

    What was written is signed when the block ends, and then gets its own name.

    Raises:
        OSError: the folder cannot be written to, or nothing was written.
    """
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{os.getpid()}.{get_ident()}")
    try:
        yield part
        with part.open("ab") as file:
            file.write(hashlib.sha256(part.read_bytes()).digest())
        part.chmod(0o600)
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)


def read_whole(place: Path) -> bytes:
    """Return what was put in a place.

    Raises:
        OSError: there is nothing, or not all of what was put there.
    """
    held = place.read_bytes()
    content, digest = held[:-DIGEST], held[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise OSError(f"{place} is not what was written there")
    return content
