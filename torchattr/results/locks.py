"""Locks of folders: one run at a time replaces the files of a folder.

The kernel locks the folder where it can, and releases it whenever the process ends. Many network
file systems cannot, nor can Windows: there, a file says who holds the folder, and that of a process
of this machine that has ended is taken over.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from torchattr.core.printable import printable
from torchattr.errors import FolderError
from torchattr.results.files import cannot_write, not_interrupted

try:
    fcntl: Any = import_module("fcntl")
except ImportError:  # Windows has no such locks.
    fcntl = None

LOCK = ".torchattr-lock"
"""The file that says who holds a folder which the kernel cannot lock; it exists only meanwhile."""

LOCK_SECONDS = 60.0


@contextmanager
def locked(folder: Path, option: str) -> Iterator[None]:
    """Lock an existing folder against other runs while its files are replaced.

    Raises:
        FolderError: another run holds it for more than a minute, or it cannot be written to.
    """
    lock: FolderLock | None = None
    try:
        try:
            lock = KernelLock(folder) if has_kernel_lock(folder) else LockFile(folder / LOCK)
            _wait_for(lock, folder, option)
        except FolderError:
            raise
        except OSError as error:
            raise FolderError(cannot_write(folder, option, error)) from error
        yield
    finally:
        if lock is not None:
            lock.release()


def has_kernel_lock(folder: Path) -> bool:
    """Whether the kernel can lock a folder: network file systems refuse to, in several ways."""
    if fcntl is None:
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _wait_for(lock: FolderLock, folder: Path, option: str) -> None:
    end = time.monotonic() + LOCK_SECONDS
    while not lock.take():
        if time.monotonic() > end:
            said = lock.refusal(f"{folder} for {LOCK_SECONDS:.0f} seconds")
            raise FolderError(printable(f"{option}: {said}"))
        time.sleep(0.01)


class FolderLock(ABC):
    """A lock that is held from the first successful `take` until `release`."""

    @abstractmethod
    def take(self) -> bool:
        """Whether the lock is now held; does not wait."""

    @abstractmethod
    def release(self) -> None:
        """Release the lock, if it is held."""

    @abstractmethod
    def refusal(self, waited: str) -> str:
        """Return who has held it for how long, and the way out."""


class KernelLock(FolderLock):
    """A lock of the kernel on the folder itself."""

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder, os.O_RDONLY)

    def take(self) -> bool:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        # A process that was forked meanwhile has the handle, too, so closing would not be enough.
        fcntl.flock(self._handle, fcntl.LOCK_UN)
        os.close(self._handle)

    def refusal(self, waited: str) -> str:
        return f"another run has held {waited}; stop it, or choose another folder"


@dataclass(frozen=True)
class Holder:
    """Who holds a folder: a process of a machine, and a token that no other lock has."""

    process: int = field(default_factory=os.getpid)
    machine: str = field(default_factory=socket.gethostname)
    token: str = field(default_factory=lambda: uuid4().hex)

    @classmethod
    def read(cls, file: Path) -> Holder | None:
        """Return what a lock file says; `None` if it is gone or incomplete."""
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def has_ended(self) -> bool:
        """Whether it is a process of this machine that no longer runs."""
        # On Windows, a signal of 0 would end the process instead of asking for it.
        if sys.platform == "win32" or self.machine != socket.gethostname():
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


class LockFile(FolderLock):
    """A file that exists while a run holds the folder."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._own = Holder()

    def take(self) -> bool:
        try:
            with not_interrupted():
                self._create()
        except FileExistsError:
            self._take_over()
            return False
        return True

    def release(self) -> None:
        if Holder.read(self._file) == self._own:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def refusal(self, waited: str) -> str:
        found = Holder.read(self._file)
        who = f"process {found.process} on {found.machine}" if found else "another run"
        return f"{who} has held {waited}; stop it, or remove {self._file.name} if it has ended"

    def _create(self) -> None:
        with self._file.open("x", encoding="utf-8") as file:
            try:
                file.write(json.dumps(asdict(self._own)))
                file.flush()
            except OSError:
                self._file.unlink(missing_ok=True)
                raise

    def _take_over(self) -> None:
        """Remove the file of a process that has ended; of several that see it, one does."""
        found = Holder.read(self._file)
        if found is None or not found.has_ended():
            return
        claim = self._file.with_name(f"{self._file.name}-{found.token}")
        try:
            claim.mkdir()
        except FileExistsError:
            return
        try:
            # Another one may have taken over before this claim; only the holder of it removes.
            if Holder.read(self._file) == found:
                self._file.unlink(missing_ok=True)
        finally:
            claim.rmdir()
