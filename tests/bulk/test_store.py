"""The store on disk: read by Zarr and PyArrow alone, and made once by many."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from torchattr.bulk.record import Resolved, complete
from torchattr.bulk.store import MapStore
from torchattr.errors import FolderError

zarr = pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")

RECORD = complete(
    {"ids": {"count": 10}, "shard_size": 4, "dtype": "uint8"},
    Resolved((3, 8, 8), {"a": (2, 8, 8), "cam/layer4": (2, 3)}, ("x", "y"), (), "none", 2, None),
)
SHAPES = {"a": (2, 8, 8), "cam/layer4": (2, 3)}


def values(count: int = 4, number: int = 1) -> dict[str, np.ndarray]:
    return {name: np.full((count, *shape), number, "uint8") for name, shape in SHAPES.items()}


@pytest.fixture
def store(tmp_path: Path) -> MapStore:
    return MapStore.create(tmp_path / "maps.zarr", RECORD)


def test_what_is_written_is_read_by_zarr_alone(store) -> None:
    store.write(0, values(4, 1), b"table")
    store.write(2, values(2, 3), b"table")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(str(store.root), mode="r")
        names = dict(group.members(max_depth=None))
    assert set(names) == {"a", "cam", "cam/layer4"}
    for name, shape in SHAPES.items():
        whole = group[name][:]
        assert whole.shape == (10, *shape)
        written = [1] * 4 + [0] * 4 + [3] * 2
        assert all((one == number).all() for one, number in zip(whole, written, strict=True))
    assert group["a"].metadata.dimension_names == ("picture", "target", "row", "column")
    assert group.attrs["torchattr"] == RECORD


def test_each_shard_is_one_object_of_each_array(store) -> None:
    store.write(1, values(), b"table")
    objects = [path for path in store.root.rglob("*") if path.name.startswith("c.")]
    assert len(objects) == len(SHAPES)


def test_a_shard_is_done_with_its_table(store) -> None:
    assert (store.tables.done(), store.tables.is_done(2)) == ([], False)
    store.write(2, values(2), b"table")
    assert (store.tables.done(), store.tables.is_done(2)) == ([2], True)
    assert store.tables.path(2).read_bytes() == b"table"


def test_a_table_is_written_last(store, monkeypatch) -> None:
    store.arrays[1].path(store.root, 0).mkdir()
    with pytest.raises(FolderError, match="cannot write to"):
        store.write(0, values(), b"table")
    assert store.tables.done() == []


def test_a_shard_without_any_map_has_no_object(store) -> None:
    store.write(0, values(4, 1), b"table")
    store.write(0, values(4, 0), b"table")
    assert not store.arrays[0].path(store.root, 0).exists()
    assert (zarr.open_group(str(store.root), mode="r")["a"][:4] == 0).all()


def test_chunks_divide_shards_and_hold_some_maps(store) -> None:
    for array in store.arrays:
        assert store.shards.size % array.per_chunk == 0
    assert store.arrays[0].per_chunk == 4


def test_of_two_that_make_it_one_does(tmp_path, store) -> None:
    other = MapStore.create(tmp_path / "maps.zarr", {**RECORD, "dtype": "float32"})
    assert other.record == RECORD
    assert os.listdir(tmp_path) == ["maps.zarr"]


def test_it_is_found_again(store, tmp_path) -> None:
    found = MapStore.find(store.root)
    assert found is not None
    assert found.record == RECORD
    assert found.resolved == store.resolved
    assert MapStore.find(tmp_path / "none") is None
    (tmp_path / "empty").mkdir()
    assert MapStore.find(tmp_path / "empty") is None


def test_a_folder_of_something_else_is_refused(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FolderError, match="holds no store of maps; pass the folder of"):
        MapStore.find(tmp_path)
    zarr.create_group(str(tmp_path / "other.zarr"))
    with pytest.raises(FolderError, match=r"other.zarr holds no store of maps"):
        MapStore.open(tmp_path / "other.zarr")


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        ("", r"\(Expecting value"),
        ("[]", r"\("),
        ("null", r"\("),
        ('{"zarr_format": 9, "node_type": "group"}', r"\(Invalid zarr_format"),
    ],
)
def test_a_damaged_store_is_said_to_be_one(store, damaged: str, why: str) -> None:
    (store.root / "zarr.json").write_text(damaged)
    said = f"the store in {store.root} cannot be read {why}.*; restore its zarr.json, or use"
    with pytest.raises(FolderError, match=said):
        MapStore.open(store.root)


def test_a_store_that_cannot_be_made_is_a_sentence(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot write to"):
        MapStore.create(tmp_path / "file" / "maps.zarr", RECORD)
