"""The writing thread: whole shards only, and faults where batches are put."""

import signal
import threading
import time
from contextlib import suppress

import pytest
import torch

from torchattr.bulk.encoding import EncodedMaps
from torchattr.bulk.explaining import ExplainedBatch
from torchattr.bulk.reading import ReadBatch, ReadPicture
from torchattr.bulk.record import Resolved, complete
from torchattr.bulk.shard_content import NOT_FINITE, DoneBatch, ShardContent
from torchattr.bulk.store import MapStore
from torchattr.bulk.writing import ShardWriter
from torchattr.errors import FolderError

pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")
parquet = pytest.importorskip("pyarrow.parquet")

RECORD = complete(
    {"ids": {"count": 6}, "shard_size": 4, "dtype": "float16"},
    Resolved((3, 2, 2), {"a": (1, 2, 2)}, ("x",), (), "none", 2, None),
)


@pytest.fixture
def store(tmp_path) -> MapStore:
    return MapStore.create(tmp_path / "maps.zarr", RECORD)


def batch(positions, failed=(), finite=None) -> DoneBatch:
    pictures = [
        ReadPicture(reason="broken" if position in failed else None) for position in positions
    ]
    good = [position for position in positions if position not in failed]
    maps = torch.tensor(good).half().reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    ones = torch.ones(len(good), 1)
    explained = ExplainedBatch(
        {"a": EncodedMaps(maps, ones, 0 * ones)},
        torch.tensor(finite if finite is not None else [True] * len(good)),
        ones,
        torch.tensor(good).reshape(-1, 1),
        torch.tensor(good),
    )
    return DoneBatch(
        positions[0] // 4,
        ReadBatch(list(positions), pictures, torch.ones(len(good), 3, 2, 2) if good else None),
        explained if good else None,
        [str(position) for position in positions],
        [None] * len(positions),
        [None] * len(positions),
        2,
        "cpu",
    )


def test_a_shard_is_written_when_it_is_complete(store) -> None:
    written = []
    with ShardWriter(store, written.append) as writer:
        for positions in ((0, 1), (2, 3), (4,)):
            writer.put(batch(positions), 0.0)
    assert (written, store.tables.done()) == ([0], [0])


def test_an_error_of_the_caller_leaves_what_is_done(store) -> None:
    def work() -> None:
        with ShardWriter(store, lambda shard: None) as writer:
            writer.put(batch((4, 5)), 0.0)
            writer.put(batch((0, 1)), 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert store.tables.done() == [1]


def test_an_interrupt_at_the_end_waits_for_what_is_being_written(store, monkeypatch) -> None:
    interrupted, write = threading.Event(), ShardContent.write

    def slow(self):
        interrupted.wait()
        time.sleep(0.2)
        write(self)

    def interrupt(*_):
        interrupted.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(ShardContent, "write", slow)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with suppress(KeyboardInterrupt), ShardWriter(store, lambda shard: None) as writer:
            writer.put(batch((0, 1, 2, 3)), 0.0)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted.is_set()
    assert store.tables.done() == [0]


def test_a_fault_of_the_thread_is_raised_where_batches_are_put(store) -> None:
    store.arrays[0].path(store.root, 0).mkdir()

    def work() -> None:
        with ShardWriter(store, lambda shard: None) as writer:
            for _ in range(100):
                writer.put(batch((0, 1)), 0.0)
                writer.put(batch((2, 3)), 0.0)

    with pytest.raises(FolderError, match="cannot write to"):
        work()
    assert store.tables.done() == []


def test_a_fault_with_the_last_shard_is_raised_at_the_end(store) -> None:
    store.arrays[0].path(store.root, 1).mkdir()
    with pytest.raises(FolderError), ShardWriter(store, lambda shard: None) as writer:
        writer.put(batch((4, 5)), 0.0)


def test_rows_say_what_is_known(store) -> None:
    content = ShardContent(store, 0)
    content.add(batch((0, 1), failed=(0,)), 0.5)
    assert not content.is_complete
    content.add(batch((2, 3), finite=[False, True]), 0.5)
    assert content.is_complete
    content.write()
    table = parquet.read_table(store.tables.path(0)).to_pydict()
    assert table["reason"] == ["broken", None, NOT_FINITE, None]
    assert table["id"] == ["0", "1", "2", "3"]
    assert table["targets"] == [None, [1], None, [3]]
    assert table["scale/a"] == [None, [1.0], None, [1.0]]
    assert table["seconds"] == [0.5] * 4


def test_what_has_no_map_is_nan(store) -> None:
    content = ShardContent(store, 1)
    content.add(batch((4, 5), failed=(4, 5)), 0.1)
    content.write()
    assert store.tables.done() == [1]
