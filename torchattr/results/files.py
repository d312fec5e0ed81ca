"""Files that are whole or absent, in folders that are asked before anything is computed.

New contents are first written beside their places, under names that are torchattr's own; only when
all of them are on the disk are they moved. A run that is killed in between leaves a note of what it
was moving, so that the next one knows these files as its own.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torchattr.core.printable import printable
from torchattr.errors import FolderError, WayOut

try:
    import fcntl
except ImportError:  # Windows has no locks of this kind.
    fcntl = None  # type: ignore[assignment]

MOVING = ".torchattr-moving"
"""The note of files that are being moved to their places; there only while they are."""

LOCK_SECONDS = 60.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ENDING = [
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


def place_of(given: str | Path, option: str) -> Path:
    """Return the path that an option names, with `~` expanded.

    Raises:
        FolderError: it is empty, or no path.
    """
    if not str(given) or "\0" in str(given):
        raise FolderError(f"{option}: {str(given)!r} is no path; name a place for the results")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise FolderError(f"{option}: {given} cannot be found ({error}); write out the path") from (
            error
        )


def check_writable(folder: Path, option: str) -> None:
    """Check that files can be written below a folder, which need not be there; make nothing.

    Raises:
        FolderError: it is or lies below a file, or may not be written to.
    """
    try:
        there = next(
            path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
        )
    except OSError as error:
        raise FolderError(cannot_write(folder, option, error)) from error
    if not there.is_dir():
        raise FolderError(cannot_write(folder, option, f"{there} is not a folder"))
    if not os.access(there, os.W_OK | os.X_OK):
        raise FolderError(cannot_write(folder, option, f"{there} may not be written to"))


def write_whole(path: Path, content: bytes, option: str) -> Path:
    """Write a file beside its place and move it there, so that none is ever half-written.

    Raises:
        FolderError: it cannot be written.
    """
    (written,) = write_all(path.parent, {path.name: content}, option)
    return written


def write_all(folder: Path, contents: Mapping[str, bytes], option: str) -> list[Path]:
    """Write several files of a folder, all of them or none, and move them there in their order.

    Where the move itself is cut short, what is in place is listed by :func:`moving`.

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
    """Return the files of a folder that a run was moving to their places when it was killed."""
    try:
        listed = json.loads((folder / MOVING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # A note that is not whole was being written, so nothing had been moved yet.
        return []
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def forget_moving(folder: Path) -> None:
    """Remove the note; whoever read it has kept what it says."""
    with suppress(OSError):
        (folder / MOVING).unlink(missing_ok=True)


def _move(folder: Path, parts: Mapping[Path, Path]) -> None:
    if len(parts) == 1:
        # One file is moved or not: there is nothing between to note.
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
    # As short for a long name as for any, and the same each time: a rerun replaces a leftover.
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
    """Remove what killed runs left half-written in a folder, which must be locked."""
    for part in folder.glob(".torchattr-*.part"):
        with suppress(OSError):
            part.unlink()


@contextmanager
def locked(folder: Path, option: str) -> Iterator[None]:
    """Keep other runs from a folder that is there, for as long as its files are put in place.

    On Windows, and on a file system without locks, nothing is kept out.

    Raises:
        FolderError: another run holds it for more than a minute.
    """
    if fcntl is None:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise FolderError(cannot_write(folder, option, error)) from error
    try:
        _lock(partial(fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB), folder, option)
        yield
    finally:
        # Closing gives the lock back.
        os.close(handle)


def _lock(take: Callable[[], object], folder: Path, option: str) -> None:
    end = time.monotonic() + LOCK_SECONDS
    while not _has_locked(take):
        if time.monotonic() > end:
            raise FolderError(
                printable(
                    f"{option}: another run has held {folder} for {LOCK_SECONDS:.0f} seconds; end"
                    " it, or choose another folder"
                )
            )
        time.sleep(0.01)


def _has_locked(take: Callable[[], object]) -> bool:
    """Whether nobody else holds the lock, which is now taken; or there are no locks here."""
    try:
        take()
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def not_interrupted() -> Iterator[None]:
    """Put off Ctrl-C and requests to end until a file is done; they are answered after it."""
    if threading.current_thread() is not threading.main_thread():
        # Python answers signals in the main thread only.
        yield
        return
    came: list[int] = []
    # What no Python code set cannot be put back by it.
    before = {one: how for one in _ENDING if (how := signal.getsignal(one)) is not None}
    try:
        for one in before:
            signal.signal(one, lambda number, frame: came.append(number))
        yield
    finally:
        for one, how in before.items():
            signal.signal(one, how)
        if came:
            signal.raise_signal(came[0])


OVERWRITE = WayOut("or allow it with {setting}", "overwrite", True)


def cannot_write(folder: Path, option: str, reason: str | OSError) -> str:
    """Say which option names a place that takes no files, why, and the way out."""
    why = (reason.strerror or str(reason)) if isinstance(reason, OSError) else reason
    way = "give a folder that you may write to, or a new one"
    if isinstance(reason, OSError) and reason.errno in _FULL:
        way = "make room and run the same again, which goes on from what is done"
    return printable(f"{option}: nothing can be written to {folder} ({why}); {way}")
