"""Tables of boxes."""

from __future__ import annotations

import pytest

from torchattr.bulk.annotated.annotation import Annotation
from torchattr.bulk.annotated.box_table import annotations_of_table
from torchattr.errors import ImageError, InputError
from torchattr.models import Box


def table(tmp_path, *lines):
    file = tmp_path / "boxes.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize("label", ["label", "class"])
def test_each_row_is_a_box(tmp_path, label) -> None:
    file = table(
        tmp_path, f"{label},path,x0,y0,x1,y1,note", "cat,a.png,1,2,3.5,4,x", "7,b,0,0,1,1,"
    )
    assert list(annotations_of_table(file)) == [
        Annotation("a.png", "cat", (Box(1, 2, 3.5, 4),)),
        Annotation("b", "7", (Box(0, 0, 1, 1),)),
    ]


def test_sizes_are_read(tmp_path) -> None:
    file = table(tmp_path, "path,label,x0,y0,x1,y1,width,height", "a,cat,0,0,1,1,40,30")
    (found,) = annotations_of_table(file)
    assert found.size == (40, 30)


def test_a_table_of_parquet(tmp_path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    columns = {"path": ["a"], "class": [3], "x0": [0], "y0": [0.5], "x1": [2], "y1": [2.0]}
    write_table(arrow.table(columns), tmp_path / "boxes.parquet")
    (found,) = annotations_of_table(tmp_path / "boxes.parquet")
    assert found == Annotation("a", "3", (Box(0, 0.5, 2, 2),))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["path,x0,y0,x1,y1", "a,0,0,1,1"], "has no column 'label'; there are: 'path', 'x0'"),
        (["path,label,x0,y0,x1", "a,b,0,0,1"], "has no column 'y1'"),
        (["path,label,x0,y0,x1,y1,width", "a,b,0,0,1,1,4"], "has no column 'height'"),
        (["path,label,x0,y0,x1,y1", "a,b,0,0,1,1", "a,,0,0,1,1"], "row 2 has no label"),
        (["path,label,x0,y0,x1,y1", ",b,0,0,1,1"], "row 1 has no path"),
        (["path,label,x0,y0,x1,y1", "a,b,0,top,1,1"], "row 1: y0 must be a number, got 'top'"),
        (["path,label,x0,y0,x1,y1,width,height", "a,b,0,0,1,1,?,3"], "width must be a number"),
    ],
)
def test_what_is_missing_is_named(tmp_path, lines, said) -> None:
    with pytest.raises(InputError, match=said):
        list(annotations_of_table(table(tmp_path, *lines)))


def test_a_missing_table_is_named(tmp_path) -> None:
    with pytest.raises(ImageError, match=r"boxes.csv cannot be read \(No such file"):
        list(annotations_of_table(tmp_path / "boxes.csv"))
