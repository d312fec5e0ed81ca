"""The store of a benchmark."""

from __future__ import annotations

import pytest
import torch

from torchattr.bulk.annotated.annotation import Annotation
from torchattr.bulk.annotated.seen_pictures import LeftOut, SeenPicture
from torchattr.bulk.annotated.value_store import RECORD, ValueStore, rows_of, values_of
from torchattr.errors import FolderError
from torchattr.models import Box

pytest.importorskip("pyarrow")

WHAT = {"ids": {"count": 10}, "metrics": ["mass", "top 5%"]}
WHERE = Annotation("a.png", "cat", (Box(0, 0, 1, 1),))
SEEN = SeenPicture(torch.zeros(3, 2, 2), 4, torch.eye(2).bool(), [Box(0, 0, 1, 1)], 0.5)
VALUES = {"lrp": {"mass": 1.0, "top 5%": float("nan")}, "(random)": {"mass": 2.0, "top 5%": 3.0}}


def test_rows_are_read_as_they_were_written(tmp_path) -> None:
    store = ValueStore.create(tmp_path / "values", WHAT)
    store.write(1, rows_of(8, WHERE, LeftOut("it is dark"), {}))
    store.write(0, rows_of(0, WHERE, SEEN, VALUES))
    rows = ValueStore.find(tmp_path / "values").rows()
    assert [(row["position"], row["method"]) for row in rows] == [
        (0, "lrp"),
        (0, "(random)"),
        (8, None),
    ]
    assert rows[0]["target"] == 4
    assert rows[0]["seen"] == 0.5
    assert rows[2]["reason"] == "it is dark"
    found = values_of(rows, list(VALUES), WHAT["metrics"])
    expected = torch.tensor([[[1.0, torch.nan], [2.0, 3.0]]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_others_read_the_folder_as_one_table(tmp_path) -> None:
    from pyarrow.parquet import read_table

    store = ValueStore.create(tmp_path / "values", WHAT)
    for shard in range(2):
        store.write(shard, rows_of(8 * shard, WHERE, SEEN, VALUES))
    assert read_table(tmp_path / "values").num_rows == 4


def test_of_two_that_make_it_one_does(tmp_path) -> None:
    ValueStore.create(tmp_path / "values", WHAT)
    assert ValueStore.create(tmp_path / "values", {}).record == WHAT
    assert ValueStore.find(tmp_path / "none") is None


def test_a_folder_of_something_else_is_refused(tmp_path) -> None:
    with pytest.raises(FolderError, match="was not made by `torchattr benchmark --data`"):
        ValueStore.find(tmp_path)
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(FolderError, match="choose another folder"):
        ValueStore.find(tmp_path)
