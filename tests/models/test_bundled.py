"""The bundled pictures have names, which a file of the user's may take."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import refused
from PIL import Image

import torchattr as ta
from torchattr.errors import ImageError
from torchattr.models import find_images, load_model, read_image
from torchattr.models.bundled import bundled
from torchattr.models.collage import examples

PHOTOGRAPHS = ["cat", "coffee", "rocket", "camera"]


def test_photographs_come_before_the_collages() -> None:
    names = list(bundled())
    assert names == PHOTOGRAPHS + [one.path.stem for one in examples()]
    assert all(file.is_file() for file in bundled().values())


@pytest.mark.parametrize("name", bundled())
def test_an_example_is_an_rgb_picture(name: str) -> None:
    picture = ta.example(name)
    assert picture.mode == "RGB"
    assert min(picture.size) >= 224
    assert picture.tobytes() == read_image(bundled()[name]).tobytes()


def test_an_unknown_example_is_compared_with_the_names() -> None:
    with refused(ImageError, "no bundled picture 'cats'", "did you mean 'cat'"):
        ta.example("cats")
    with refused(ImageError, "no bundled picture 'zzz'", "there are: cat, coffee"):
        ta.example("zzz")


def test_names_are_found_where_files_are_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_images(["rocket", "astronaut_cat"]) == [
        bundled()["rocket"],
        bundled()["astronaut_cat"],
    ]
    with refused(ImageError, "camra: no such file or folder, and no bundled", "'camera'"):
        find_images("camra")
    with pytest.raises(ImageError, match=r"^photo\.jpg: no such file or folder$"):
        find_images("photo.jpg")


def test_a_file_or_folder_of_that_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "cat", format="PNG")
    assert find_images("cat") == [Path("cat")]
    (tmp_path / "coffee").mkdir()
    with refused(ImageError, "coffee: no picture directly in this folder"):
        find_images("coffee")


def test_each_model_has_pictures_that_it_knows() -> None:
    assert list(load_model("demo").examples) == [one.path.stem for one in examples()]
    assert list(load_model("torchvision:resnet18", weights="random").examples) == PHOTOGRAPHS
