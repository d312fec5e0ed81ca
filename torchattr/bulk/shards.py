"""Fixed shards of ids, and which of them a process takes."""

from __future__ import annotations

import json
import os
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from torchattr.bulk.durable import cannot_write
from torchattr.errors import FolderError, InputError
from torchattr.methods import checked_count


@dataclass(frozen=True)
class Shards:
    """The ids of a data set, cut into shards of one size; the last one may be smaller.

    >>> shards = Shards(10, 4)
    >>> len(shards), shards.positions(2)
    (3, range(8, 10))
    """

    ids: int
    size: int

    def __len__(self) -> int:
        return -(-self.ids // self.size)

    def positions(self, shard: int) -> range:
        """Return the positions of the ids of a shard."""
        return range(shard * self.size, min((shard + 1) * self.size, self.ids))

    def count(self, shards: Iterable[int]) -> int:
        """Return the number of ids in some of the shards."""
        return sum(len(self.positions(shard)) for shard in shards)

    def of(self, position: int) -> int:
        """Return the shard of a position."""
        return position // self.size

    def batches(self, shard: int, batch_size: int) -> Iterator[list[int]]:
        """Yield the positions of each batch; none has ids of two shards."""
        positions = self.positions(shard)
        for start in range(0, len(positions), batch_size):
            yield list(positions[start : start + batch_size])


class Taking(ABC):
    """Which shards a process works on. Final classes only.

    Two processes that work on the same shard write the same, so that only time is lost.
    """

    @abstractmethod
    def taken(self, shards: Shards, is_done: Callable[[int], bool]) -> Iterator[int]:
        """Yield the shards to work on, each when the process is about to begin it."""

    def due(self, shards: Shards, done: Collection[int]) -> list[int]:
        """Return the shards that are not done and that the process may take."""
        finished = set(done)
        return [shard for shard in range(len(shards)) if shard not in finished]

    def left(self, shard: int) -> None:
        """Note that a shard is done."""
        del shard

    def close(self) -> None:
        """Release what was taken and is not done."""
        return


@dataclass(frozen=True)
class TakeByRank(Taking):
    """Takes the shards of one of several equal processes.

    Args:
        rank: the number of this process, from 0.
        world: the number of processes.

    Raises:
        InputError: numbers that do not fit.

    >>> list(TakeByRank(1, 2).taken(Shards(10, 2), lambda shard: shard == 3))
    [1]
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        checked_count(self.world, "world")
        if checked_count(self.rank, "rank", 0) >= self.world:
            raise InputError(
                f"rank must be below world, the number of processes, got rank={self.rank} and"
                f" world={self.world}"
            )

    def taken(self, shards: Shards, is_done: Callable[[int], bool]) -> Iterator[int]:
        for shard in range(self.rank, len(shards), self.world):
            if not is_done(shard):
                yield shard

    def due(self, shards: Shards, done: Collection[int]) -> list[int]:
        return [shard for shard in super().due(shards, done) if shard % self.world == self.rank]


@dataclass(frozen=True)
class TakeGiven(Taking):
    """Takes the shards that something else hands out.

    Args:
        numbers: those of the shards.

    >>> list(TakeGiven((2, 0, 9)).taken(Shards(10, 4), lambda shard: shard == 0))
    [2]
    """

    numbers: tuple[int, ...]

    def taken(self, shards: Shards, is_done: Callable[[int], bool]) -> Iterator[int]:
        for shard in self.numbers:
            if shard < len(shards) and not is_done(shard):
                yield shard

    def due(self, shards: Shards, done: Collection[int]) -> list[int]:
        return [shard for shard in super().due(shards, done) if shard in self.numbers]


class TakeByLease(Taking):
    """Takes any shard that no other process holds, so that processes may come and go.

    A lease is a file that only one process can create. It is touched while the process lives; one
    that was not for `seconds` is taken over.

    Args:
        folder: where the leases are, shared by all processes.
        seconds: how long a lease outlives its process.
    """

    def __init__(self, folder: Path, seconds: float = 120.0) -> None:
        self._folder = folder
        self._seconds = seconds
        self._held: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="torchattr-leases", daemon=True)

    def taken(self, shards: Shards, is_done: Callable[[int], bool]) -> Iterator[int]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(cannot_write(self._folder, error)) from error
        self._thread.start()
        for shard in range(len(shards)):
            if not is_done(shard) and self._take(shard):
                # Another process may have finished it, and left it, in between.
                if is_done(shard):
                    self.left(shard)
                else:
                    yield shard

    def left(self, shard: int) -> None:
        self._held.discard(shard)
        with suppress(OSError):
            self._path(shard).unlink(missing_ok=True)

    def close(self) -> None:
        self._over.set()
        for shard in list(self._held):
            self.left(shard)

    def _take(self, shard: int) -> bool:
        self._drop_stale(self._path(shard))
        try:
            handle = os.open(self._path(shard), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        except OSError as error:
            raise FolderError(cannot_write(self._folder, error)) from error
        with os.fdopen(handle, "w") as file:
            json.dump({"host": socket.gethostname(), "process": os.getpid()}, file)
        self._held.add(shard)
        return True

    def _drop_stale(self, path: Path) -> None:
        """Remove a lease whose process is gone; of several that try, one succeeds."""
        with suppress(OSError):
            if self._now() - path.stat().st_mtime > self._seconds:
                gone = path.with_name(f".{path.name}.{uuid4().hex}")
                os.rename(path, gone)
                gone.unlink()

    def _now(self) -> float:
        """Return the time of the file system, which all processes share, unlike their clocks."""
        clock = self._folder / f".{uuid4().hex}"
        clock.touch()
        now = clock.stat().st_mtime
        clock.unlink()
        return now

    def _keep(self) -> None:
        while not self._over.wait(self._seconds / 4):
            for shard in list(self._held):
                with suppress(OSError):
                    os.utime(self._path(shard))

    def _path(self, shard: int) -> Path:
        return self._folder / f"{shard:06d}"


def rank_and_world(rank: int | None, world: int | None, env: Any = os.environ) -> tuple[int, int]:
    """Return the number of this process and of all: as given, or of torchrun or SLURM.

    Raises:
        InputError: only one of the two is given, or a number of the environment is none.

    >>> rank_and_world(None, None, {"RANK": "1", "WORLD_SIZE": "4"}), rank_and_world(0, 2, {})
    ((1, 4), (0, 2))
    """
    if (rank is None) != (world is None):
        raise InputError("rank and world belong together; pass both, or neither")
    if rank is not None and world is not None:
        return rank, world
    for one, all_of_them in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if one in env and all_of_them in env:
            return _number(one, env), _number(all_of_them, env)
    return 0, 1


def local_rank(env: Any = os.environ) -> int:
    """Return the number of this process among those of its machine, which chooses its GPU."""
    found = next((name for name in ("LOCAL_RANK", "SLURM_LOCALID") if name in env), None)
    return 0 if found is None else _number(found, env)


def _number(name: str, env: Any) -> int:
    try:
        return int(env[name])
    except ValueError:
        raise InputError(f"the environment has {name}={env[name]!r}, which is no number") from None
