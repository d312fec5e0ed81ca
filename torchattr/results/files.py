"""Atomic writes: files are complete or absent, and folders are checked before any computation.

New contents are first written to temporary files next to their destinations, and moved once all of
them are on disk. A run that is killed in between leaves a list of the files that it was moving, so
that the next run recognises them as its own.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torchattr.core.paths import expanded
from torchattr.core.printable import printable
from torchattr.errors import FolderError, WayOut

MOVING = ".torchattr-moving"
"""The file that lists what is being moved to its destination; it exists only meanwhile."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ENDING = [
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


def as_destination(given: str | Path, option: str) -> Path:
    """Return the path that an option names, with `~` expanded.

    Raises:
        FolderError: it is empty, or not a path.
    """
    if not str(given) or "\0" in str(given):
        raise FolderError(
            f"{option}: {str(given)!r} is not a path; choose a destination for the results"
        )
    return expanded(given, FolderError, f"{option}: ")


def check_writable(folder: Path, option: str) -> None:
    """Check that files can be written below a folder, which need not exist; create nothing.

    Raises:
        FolderError: it is or lies below a file, or may not be written to.
    """
    try:
        existing = next(
            path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
        )
    except OSError as error:
        raise FolderError(cannot_write(folder, option, error)) from error
    if not existing.is_dir():
        raise FolderError(cannot_write(folder, option, f"{existing} is not a folder"))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise FolderError(cannot_write(folder, option, f"{existing} is not writable"))


def write_whole(path: Path, content: bytes, option: str) -> Path:
    """Write a file atomically: to a temporary file, which is then moved.

    Raises:
        FolderError: it cannot be written.
    """
    (written,) = write_all(path.parent, {path.name: content}, option)
    return written


def write_all(folder: Path, contents: Mapping[str, bytes], option: str) -> list[Path]:
    """Write several files of a folder, all or none, and move them to it in the given order.

    If the move itself is interrupted, :func:`moving` lists the files.

    Raises:
        FolderError: they cannot be written.
    """
    parts = {folder / name: _part(folder / name) for name in contents}
    try:
        with not_interrupted(), _removed_at_the_end(parts.values()):
            for path, content in zip(parts, contents.values(), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                parts[path].write_bytes(content)
            _move(folder, parts)
    except OSError as error:
        raise FolderError(cannot_write(folder, option, error)) from error
    return list(parts)


def moving(folder: Path) -> list[str]:
    """Return the files of a folder that a run was moving when it was killed."""
    try:
        listed = json.loads((folder / MOVING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # An incomplete list was still being written, so nothing had been moved yet.
        return []
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def forget_moving(folder: Path) -> None:
    """Remove the list, once the manifest has its files."""
    with suppress(OSError):
        (folder / MOVING).unlink(missing_ok=True)


def _move(folder: Path, parts: Mapping[Path, Path]) -> None:
    if len(parts) == 1:
        # A single move is atomic, and needs no list.
        ((path, part),) = parts.items()
        os.replace(part, path)
        return
    names = [path.relative_to(folder).as_posix() for path in parts]
    moved = 0
    try:
        (folder / MOVING).write_text(json.dumps(names), encoding="utf-8")
        for path, part in parts.items():
            os.replace(part, path)
            moved += 1
    finally:
        if moved in (0, len(parts)):
            forget_moving(folder)


def _part(path: Path) -> Path:
    # Short for any name, and deterministic, so that a rerun replaces a leftover.
    digest = blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    return path.with_name(f".torchattr-{digest}.part")


@contextmanager
def _removed_at_the_end(parts: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for part in parts:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove the temporary files that killed runs left in a folder, which must be locked."""
    for part in folder.glob(".torchattr-*.part"):
        with suppress(OSError):
            part.unlink()


@contextmanager
def not_interrupted() -> Iterator[None]:
    """Defer Ctrl-C and termination signals until a file is written."""
    if threading.current_thread() is not threading.main_thread():
        # Python handles signals in the main thread only.
        yield
        return
    received: list[int] = []
    # A handler that was not set by Python code cannot be restored by it.
    handlers = {number: old for number in _ENDING if (old := signal.getsignal(number)) is not None}
    try:
        for number in handlers:
            signal.signal(number, lambda caught, frame: received.append(caught))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


OVERWRITE = WayOut("or allow it with {setting}", "overwrite", True)


def cannot_write(folder: Path, option: str, reason: str | OSError) -> str:
    """Return the message about a folder that cannot be written to, with the way out."""
    why = (reason.strerror or str(reason)) if isinstance(reason, OSError) else reason
    way = "choose a writable folder, or a new one"
    if isinstance(reason, OSError) and reason.errno in _FULL:
        way = "free some space and rerun; finished results are kept"
    return printable(f"{option}: cannot write to {folder} ({why}); {way}")
