"""Work on a run: read, explain and write the shards that this process takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from torchattr.bulk.explaining import BatchExplainer, ExplainedBatch
from torchattr.bulk.progress import RunProgress, Watch
from torchattr.bulk.reading import (
    PicturesToRead,
    ReadBatch,
    dying_is_a_sentence,
    end_reading,
    read_batches,
)
from torchattr.bulk.shard_content import DoneBatch
from torchattr.bulk.shards import Taking
from torchattr.bulk.sources import Pictures
from torchattr.bulk.store import MapStore
from torchattr.bulk.writing import ShardWriter
from torchattr.core.device_faults import is_out_of_memory
from torchattr.core.undoing import undone
from torchattr.methods import in_batches
from torchattr.runs import device_of

NO_LABEL = "it has no label, which a target asks for"
_SCAN_SECONDS = 5.0


@dataclass(frozen=True, eq=False)
class Work:
    """What a process works on.

    Attributes:
        store: where shards are written to.
        source: the pictures.
        ids: their ids, which a source may take long to list.
        explainer: explains batches.
        taking: which shards the process takes.
        workers: number of processes that read.
        watch: is told how far it has come.
    """

    store: MapStore
    source: Pictures
    ids: Sequence[str]
    explainer: BatchExplainer
    taking: Taking
    workers: int
    watch: Watch

    def run(self) -> int:
        """Work until there is nothing left to take, and return the number of pictures explained.

        Raises:
            FolderError: a shard cannot be written.
            WorkerError: a process that reads died.
            OutOfMemory: not even one picture fits into memory.
        """
        count = _Count(self)
        with dying_is_a_sentence(), undone() as undo:
            undo.later(self.taking.close)
            _set_threads(undo.later, self.store.resolved.threads)
            batches = read_batches(
                self._reading(), self._batches(), self.workers, self._device.type
            )
            undo.later(partial(end_reading, batches))
            with ShardWriter(self.store, self.taking.left) as writer:
                size = self.store.resolved.batch_size
                for batch in batches:
                    started = time.perf_counter()
                    done, size = self._explained(batch, size)
                    writer.put(done, started)
                    count.add(len(batch.positions))
        count.end()
        return count.done

    def _reading(self) -> PicturesToRead:
        return PicturesToRead(self.source, self.explainer.plan.loaded, self.store.resolved.inputs)

    def _batches(self) -> Iterator[list[int]]:
        for shard in self.taking.taken(self.store.shards, self.store.tables.is_done):
            yield from self.store.shards.batches(shard, self.store.resolved.batch_size)

    @property
    def _device(self) -> torch.device:
        return device_of(self.explainer.plan.loaded)

    def _explained(self, read: ReadBatch, size: int) -> tuple[DoneBatch, int]:
        """Explain a batch; also return how many pictures at once fit into memory."""
        labels = [self.source.label(position) for position in read.positions]
        if self.explainer.columns.needs_labels:
            read = read.without(
                [place for place, one in enumerate(labels) if one is None], NO_LABEL
            )
        device = self._device
        explained = None
        if read.inputs is not None:
            inputs = read.inputs.to(device, non_blocking=True)
            good = read.good
            names = [self.ids[read.positions[place]] for place in good]
            known = [labels[place] for place in good]
            explained, size = self._fitting(inputs, names, known, size)
        done = DoneBatch(
            self.store.shards.of(read.positions[0]),
            read,
            explained,
            [self.ids[position] for position in read.positions],
            [self.source.path(position) for position in read.positions],
            labels,
            min(size, len(read.positions)),
            _name(device),
        )
        return done, size

    def _fitting(
        self, inputs: Tensor, ids: list[str], labels: list[int | None], size: int
    ) -> tuple[ExplainedBatch, int]:
        """Explain pictures, at most `size` at once; halve that whenever memory runs out."""

        def explain(start: int, stop: int) -> ExplainedBatch:
            rows = slice(start, stop)
            try:
                return self.explainer.explained(inputs[rows], ids[rows], labels[rows])
            except (RuntimeError, MemoryError) as error:
                if is_out_of_memory(error) and inputs.device.type == "cuda":
                    torch.cuda.empty_cache()
                raise

        parts = list(in_batches(len(inputs), size, explain, "picture"))
        # The last part may be a remainder.
        fitted = max(map(len, parts[-2:])) if len(parts) > 1 else size
        return ExplainedBatch.joined(parts), fitted


@dataclass
class _Count:
    """Counts what is done, and says so."""

    work: Work
    done: int = 0
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        store, taking = self.work.store, self.work.taking
        self._in_all = self._at_start = self._scanned()
        self._of = store.shards.count(taking.due(store.shards, store.tables.done()))
        self._next_scan = self.started + _SCAN_SECONDS

    def add(self, pictures: int) -> None:
        self.done += pictures
        if time.perf_counter() > self._next_scan:
            self._in_all, self._next_scan = self._scanned(), time.perf_counter() + _SCAN_SECONDS
        self._tell()

    def end(self) -> None:
        """Report how far all processes have come."""
        self._in_all = self._scanned()
        self._of = self.done
        self._tell(is_over=True)

    def _tell(self, is_over: bool = False) -> None:
        total, in_all = self.work.store.shards.ids, self._in_all
        seconds, since = time.perf_counter() - self.started, in_all - self._at_start
        self.work.watch(RunProgress(self.done, self._of, in_all, total, seconds, since, is_over))

    def _scanned(self) -> int:
        store = self.work.store
        return store.shards.count(store.tables.done())


def _set_threads(later: Callable[[Callable[[], object]], object], threads: int | None) -> None:
    """Use as many threads as the process that began the run: sums depend on their number."""
    if threads is not None and threads != torch.get_num_threads():
        later(partial(torch.set_num_threads, torch.get_num_threads()))
        torch.set_num_threads(threads)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
