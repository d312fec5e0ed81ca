import os
import pickle
from pathlib import Path

import pytest
from PIL import Image

from torchattr.bulk import PictureFolder
from torchattr.errors import ImageError, InputError


def picture(path: Path, color: str = "red") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), color).save(path)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for name in ("dog/2.png", "cat/deep/1.png", "cat/3.PNG"):
        picture(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    return tmp_path


def test_ids_are_the_paths_inside_the_folder(classes: Path) -> None:
    assert PictureFolder(classes).ids() == ["cat/3.PNG", "cat/deep/1.png", "dog/2.png"]


def test_labels_count_the_subfolders_in_order(classes: Path) -> None:
    folder = PictureFolder(classes)
    assert [folder.label(position) for position in range(3)] == [0, 0, 1]
    assert folder.class_names() == ["cat", "dog"]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    folder = PictureFolder(tmp_path)
    assert (folder.ids(), folder.label(0), folder.class_names()) == (["a.png"], None, None)


def test_a_copy_in_a_worker_reads_the_same(classes: Path) -> None:
    copy = pickle.loads(pickle.dumps(PictureFolder(str(classes))))
    assert copy.read(2).getpixel((0, 0)) == (255, 0, 0)
    assert copy.path(2) == os.path.join(classes, "dog/2.png")


def test_a_damaged_picture_is_an_image_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    with pytest.raises(ImageError, match=r"a\.png"):
        PictureFolder(tmp_path).read(0)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no picture"):
        PictureFolder(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such folder"):
        PictureFolder(tmp_path / "none")
