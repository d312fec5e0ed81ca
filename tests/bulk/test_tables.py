"""Tables of shards."""

from __future__ import annotations

import pytest

from torchattr.bulk.tables import ShardTables, encoded

arrow = pytest.importorskip("pyarrow")


def test_a_shard_is_done_with_its_table(tmp_path) -> None:
    tables = ShardTables(tmp_path / "rows")
    assert tables.done() == []
    schema = arrow.schema({"a": arrow.int64(), "b": arrow.string()}.items())
    tables.write(11, encoded([{"a": 1}, {"b": "x", "c": 3}], schema))
    (tmp_path / "rows" / ".000012.parquet.abc.part").write_text("half")
    assert tables.done() == [11]
    assert (tables.is_done(11), tables.is_done(12)) == (True, False)
    from pyarrow.parquet import read_table

    assert read_table(tables.path(11)).to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
