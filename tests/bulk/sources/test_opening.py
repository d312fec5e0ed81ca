import io
import tarfile

import pytest
from PIL import Image

from torchattr.bulk import (
    DatasetPictures,
    PictureFolder,
    TablePictures,
    TarPictures,
    as_pictures,
)
from torchattr.errors import InputError


@pytest.fixture
def folder(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    (tmp_path / "all.csv").write_text("path\na.png\n")
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "a.png")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("", PictureFolder),
        ("all.csv", TablePictures),
        ("0.tar", TarPictures),
        ("{0..0}.tar", TarPictures),
        ("*.tar", TarPictures),
    ],
)
def test_the_kind_of_a_path_is_found(folder, name, kind):
    for data in (folder / name, str(folder / name)):
        assert type(as_pictures(data)) is kind


def test_a_source_stays_and_a_data_set_becomes_one(folder):
    source = PictureFolder(folder)
    assert as_pictures(source) is source
    assert isinstance(as_pictures([Image.new("RGB", (4, 3))]), DatasetPictures)


@pytest.mark.parametrize(
    ("name", "said"), [("none", "no such file or folder"), ("a.png", "is none of these")]
)
def test_other_paths_are_refused(folder, name, said):
    with pytest.raises(InputError, match=f"{said}; pass a folder, a table"):
        as_pictures(folder / name)


@pytest.mark.parametrize("data", [3, iter(())])
def test_what_is_no_data_is_refused(data):
    with pytest.raises(InputError, match="must be a map-style data set"):
        as_pictures(data)
