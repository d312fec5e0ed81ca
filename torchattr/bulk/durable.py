"""Files that are complete or absent, and stay so when the machine loses its power."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from torchattr.core.printable import printable
from torchattr.errors import FolderError

_FULL = (errno.ENOSPC, errno.EDQUOT)

PART = ".part"
"""How the name of a file ends that is being written."""


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


def remove_parts(folder: Path, older_than: float) -> None:
    """Remove what killed processes left half written in a folder and its subfolders.

    older_than: the time of the last change before which a file cannot be that of a live process.
    """
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
