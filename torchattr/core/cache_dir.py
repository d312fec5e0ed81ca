"""The on-disk cache of compiled kernels and measurements.

Libraries loaded from the cache are executed, so its folder must not be writable by anybody else. A
file is used only if it is complete: it ends with a digest of the rest.
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
    """Return the folder of the cache: `torchattr/kernels` in the user's cache folder.

    If that is not private to the user, return a temporary folder that is removed at exit.
    """
    base = _user_cache()
    if base is None:
        return private_folder()
    folder = base / "torchattr" / "kernels"
    with suppress(OSError):
        if all(_is_private(level) for level in (folder.parent, folder)):
            return folder
    return private_folder()


def private_folder() -> Path:
    """Return the temporary folder of this process, removed when it exits."""
    return _private_folder(os.getpid())


@cache
def _private_folder(process: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="torchattr-"))
    atexit.register(_remove, folder, process)
    return folder


def _remove(folder: Path, process: int) -> None:
    """Remove a folder, unless this is a fork of the process that created it."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _user_cache() -> Path | None:
    """Return the user's cache folder; `None` if the environment names no absolute path."""
    if sys.platform == "win32":
        candidates = [os.environ.get("LOCALAPPDATA", "")]
    else:
        candidates = [os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")]
    return next((Path(path) for path in candidates if os.path.isabs(path)), None)


def _is_private(folder: Path) -> bool:
    """Whether only this user can write to a folder, which is created if it does not exist."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform == "win32":
        return True
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    if stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)
    return True


@contextmanager
def put_in_place(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, so that no other process ever reads a partial file.

    At the end of the block, the file gets its digest and is renamed to `path`.

    Raises:
        OSError: the folder cannot be written to, or nothing was written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}")
    try:
        yield partial
        with partial.open("ab") as file:
            file.write(hashlib.sha256(partial.read_bytes()).digest())
        partial.chmod(0o600)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_whole(path: Path) -> bytes:
    """Return the content of a file that :func:`put_in_place` wrote.

    Raises:
        OSError: the file does not exist, or it is damaged.
    """
    data = path.read_bytes()
    content, digest = data[:-DIGEST], data[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise OSError(f"{path} is damaged: its digest does not match")
    return content
