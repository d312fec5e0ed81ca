import pickle

import pytest
from PIL import Image

from torchattr.bulk import TablePictures
from torchattr.errors import ImageError, InputError


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name, color in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (4, 3), color).save(tmp_path / "pictures" / f"{name}.png")
    return tmp_path


def table(place, text, **options):
    (place / "all.csv").write_text(text)
    return TablePictures(place / "all.csv", **options)


def test_pictures_are_in_the_order_of_their_ids(pictures):
    listed = table(pictures, "label,path\ndog,pictures/b.png\ncat,pictures/a.png\n")
    assert listed.ids() == ["pictures/a.png", "pictures/b.png"]
    assert [listed.label(position) for position in (0, 1)] == [0, 1]
    assert listed.class_names() == ["cat", "dog"]
    assert listed.read(1).getpixel((0, 0)) == (0, 0, 255)
    assert listed.path(0) == str(pictures / "pictures/a.png")


def test_columns_and_the_folder_can_be_chosen(pictures):
    listed = table(
        pictures,
        "number,file,kind\n2,a.png,9\n1,b.png,\n",
        path="file",
        label="kind",
        id="number",
        folder=pictures / "pictures",
    )
    assert listed.ids() == ["1", "2"]
    assert [listed.label(position) for position in (0, 1)] == [None, 9]
    assert listed.read(0).getpixel((0, 0)) == (0, 0, 255)
    assert listed.class_names() is None


def test_names_of_classes_fix_the_labels(pictures):
    listed = table(pictures, "path,label\na.png,dog\n", class_names=["wolf", "dog"])
    assert (listed.label(0), listed.class_names()) == (1, ["wolf", "dog"])


def test_a_table_without_labels_has_none(pictures):
    listed = table(pictures, "path\na.png\n")
    assert (listed.label(0), listed.class_names()) == (None, None)


def test_a_copy_in_a_worker_reads_the_same(pictures):
    listed = table(pictures, "path\npictures/b.png\n")
    assert pickle.loads(pickle.dumps(listed)).read(0).getpixel((0, 0)) == (0, 0, 255)


def test_an_absolute_path_stays(pictures):
    path = pictures / "pictures/a.png"
    assert table(pictures, f"path\n{path}\n").path(0) == str(path)


def test_a_missing_picture_is_an_image_error_when_it_is_read(pictures):
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        table(pictures, "path\nnone.png\n").read(0)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("file\na.png\n", {}, r"no column 'path'; there are: 'file'"),
        ("path\na.png\n", {"label": "kind"}, r"no column 'kind'"),
        ("path,label\n,1\n", {}, r"no path in row 1"),
        ("path\na.png\na.png\n", {}, r"the id 'a\.png' more than once"),
        ("path\n", {}, r"holds no picture"),
        ("", {}, r"no column 'path'; there are: none"),
    ],
)
def test_a_table_that_does_not_say_enough_is_refused(pictures, text, options, said):
    with pytest.raises(InputError, match=said):
        table(pictures, text, **options)


def test_parquet_is_read_alike(pictures):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = {"path": ["pictures/b.png", "pictures/a.png"], "label": ["dog", "cat"]}
    parquet.write_table(pa.table(rows), pictures / "all.parquet")
    listed = TablePictures(pictures / "all.parquet")
    assert (listed.ids()[1], listed.label(1)) == ("pictures/b.png", 1)
    assert listed.read(1).getpixel((0, 0)) == (0, 0, 255)
    assert listed.described()["kind"] == "table"
