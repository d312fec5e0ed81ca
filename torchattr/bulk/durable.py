"""Files that are complete or absent, and stay so when the machine loses its power."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from torchattr.core.printable import printable
from torchattr.errors import FolderError

_FULL = (errno.ENOSPC, errno.EDQUOT)

PART = ".part"
"""How the name of a file ends that is being written."""

LIVE_SECONDS = 3600.0
"""How long a half-written file may still be that of a live process."""


def write_durably(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, flush it to the disk, and rename it.

    Two processes may write the same file at once: the last rename counts.

    Raises:
        FolderError: it cannot be written; nothing is left of it.
    """
    part = path.with_name(f".{path.name}.{uuid4().hex}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_flushed(part, content)
        os.replace(part, path)
        flush_folder(path.parent)
    except OSError as error:
        raise FolderError(cannot_write(path.parent, error)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _write_flushed(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can."""
    # Some file systems refuse it, and Windows cannot open a folder.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_whole(folder: Path, fill: Callable[[Path], object]) -> bool:
    """Make a folder that is complete or absent; return whether this process made it.

    Of several processes that do, one makes it, and the others find it made.

    Args:
        folder: its final name.
        fill: writes its content into the folder, which has another name until it is complete.

    Raises:
        FolderError: it cannot be written; nothing is left of it.
    """
    begun = folder.with_name(f".{folder.name}.{uuid4().hex}")
    try:
        begun.mkdir(parents=True)
        fill(begun)
        os.rename(begun, folder)
        flush_folder(folder.parent)
    except OSError as error:
        if not folder.is_dir():
            raise FolderError(cannot_write(folder.parent, error)) from error
        return False
    finally:
        shutil.rmtree(begun, ignore_errors=True)
    return True


def remove_parts(folder: Path, age: float = LIVE_SECONDS) -> None:
    """Remove what killed processes left half written in a folder and its subfolders.

    age: the seconds since its last change after which a file cannot be that of a live process.
    """
    older_than = time.time() - age
    for part in folder.rglob(f".*{PART}"):
        with suppress(OSError):
            if part.stat().st_mtime < older_than:
                part.unlink()


def cannot_write(folder: Path, error: OSError) -> str:
    """Return the message about a folder that cannot be written to, with the way out."""
    way = "choose a folder that can be written to"
    if error.errno in _FULL:
        way = "free some space and run the same again: shards that are done are kept"
    return printable(f"out: cannot write to {folder} ({error.strerror or error}); {way}")
