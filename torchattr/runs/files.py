"""Files that are whole or absent, in folders that are asked before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path
from threading import get_ident

from torchattr.errors import FolderError


def check_writable(folder: Path, option: str) -> None:
    """Ask whether files can be written below a folder, which need not be there; make nothing.

    Raises:
        FolderError: it is or lies below a file, or may not be written to.
    """
    try:
        there = next(
            path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
        )
    except OSError as error:
        raise FolderError(cannot_write(folder, option, error.strerror or str(error))) from error
    if not there.is_dir():
        raise FolderError(cannot_write(folder, option, f"{there} is not a folder"))
    if not os.access(there, os.W_OK | os.X_OK):
        raise FolderError(cannot_write(folder, option, f"{there} may not be written to"))


def write_whole(path: Path, content: bytes, option: str) -> Path:
    """Write a file beside its place and move it there, so that none is ever half-written.

    Raises:
        FolderError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FolderError(cannot_write(path.parent, option, reason)) from error
    return path


def cannot_write(folder: Path, option: str, reason: str) -> str:
    """Say which option names a place that takes no files, why, and the way out."""
    return (
        f"{option}: nothing can be written to {folder} ({reason}); give a folder that you may"
        " write to, or a new one"
    )
