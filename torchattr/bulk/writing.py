"""Write shards in a thread of its own, while the next batches are explained."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType

from torchattr.bulk.shard_content import DoneBatch, ShardContent
from torchattr.bulk.store import MapStore

_WAITING = 4
"""Batches that may wait for the thread; more would only fill memory."""


class ShardWriter:
    """Collects batches, and writes each shard when it is complete.

    As a context manager, it waits at the end until all is written, unless there was an error: a
    shard that is not complete is never written.

    Args:
        store: where shards are written to.
        written: called by the thread with the number of each shard that is done.
    """

    def __init__(self, store: MapStore, written: Callable[[int], None]) -> None:
        self._store = store
        self._written = written
        self._queue: queue.Queue[tuple[DoneBatch, float] | None] = queue.Queue(_WAITING)
        self._fault: BaseException | None = None
        # Not `Thread.join`: before Python 3.13, one that is interrupted marks the thread as ended.
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="torchattr-writer", daemon=True)

    def __enter__(self) -> ShardWriter:
        self._thread.start()
        return self

    def put(self, batch: DoneBatch, started: float) -> None:
        """Hand over the next batch, whose work began at a time of `time.perf_counter`.

        Raises:
            FolderError: an earlier one could not be written.
        """
        self._raise()
        self._queue.put((batch, started))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._end()
        finally:
            # The first time may be interrupted.
            self._end()
        if error is None:
            self._raise()

    def _end(self) -> None:
        if not self._over.is_set():
            self._queue.put(None)
        self._over.wait()

    def _raise(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _work(self) -> None:
        """Write until there is nothing more; after a fault, only empty the queue."""
        content, last = None, 0.0
        while (item := self._queue.get()) is not None:
            if self._fault is None:
                try:
                    content, last = self._added(content, *item, last)
                except BaseException as error:  # noqa: BLE001 - raised where batches are put
                    self._fault = error
        self._over.set()

    def _added(
        self, content: ShardContent | None, batch: DoneBatch, started: float, last: float
    ) -> tuple[ShardContent | None, float]:
        content = content or ShardContent(self._store, batch.shard)
        batch = batch.on_cpu()
        now = time.perf_counter()
        seconds = (now - max(started, last)) / max(len(batch.read.positions), 1)
        content.add(batch, seconds)
        if not content.is_complete:
            return content, now
        content.write()
        self._written(batch.shard)
        return None, time.perf_counter()
