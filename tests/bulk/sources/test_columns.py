import pytest

from torchattr.bulk.sources.columns import Columns
from torchattr.errors import ImageError, InputError, PackageError


def table(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_columns_are_read_by_name(tmp_path, encoding):
    columns = Columns.of(table(tmp_path / "a.csv", 'path,label\r\n"b,1.png",é\r\n\r\n', encoding))
    assert list(columns.names) == ["path", "label"]
    assert (columns.values("path"), columns.values("label")) == (["b,1.png"], ["é"])


def test_tabs_separate_the_columns_of_a_tsv(tmp_path):
    assert Columns.of(table(tmp_path / "a.TSV", "path\tlabel\na,b\t1\n")).values("path") == ["a,b"]


def test_an_empty_table_has_no_columns(tmp_path):
    assert list(Columns.of(table(tmp_path / "a.csv", "")).names) == []


def test_a_row_of_another_length_is_named(tmp_path):
    with pytest.raises(InputError, match=r"2 columns, but 3 values in the row .* 'a.png'"):
        Columns.of(table(tmp_path / "a.csv", "path,label\na.png,1,2\n"))


@pytest.mark.parametrize("name", ["a.xls", "a"])
def test_other_tables_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"must be one of \.csv, \.tsv, \.parquet"):
        Columns.of(table(tmp_path / name, ""))


def test_a_table_that_cannot_be_read_is_an_image_error(tmp_path):
    with pytest.raises(ImageError, match=r"cannot be read.*No such file"):
        Columns.of(tmp_path / "none.csv")
    with pytest.raises(ImageError, match=r"cannot be read .*utf-8"):
        Columns.of(table(tmp_path / "a.csv", "path\né.png\n", "latin-1"))


def test_parquet_reads_the_columns_that_are_asked_for(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    content = pa.table({"path": ["a.png", None], "label": [1, None], "vector": [[1.0], [2.0]]})
    parquet.write_table(content, tmp_path / "a.parquet")
    columns = Columns.of(tmp_path / "a.parquet")
    assert list(columns.names) == ["path", "label", "vector"]
    assert (columns.values("path"), columns.values("label")) == (["a.png", None], [1, None])


def test_a_damaged_parquet_file_is_an_image_error(tmp_path):
    pytest.importorskip("pyarrow.parquet")
    with pytest.raises(ImageError, match=r"a\.parquet cannot be read"):
        Columns.of(table(tmp_path / "a.parquet", "none"))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(PackageError, match="pip install pyarrow"):
        Columns.of(tmp_path / "a.parquet")
