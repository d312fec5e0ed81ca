from pathlib import Path

import pytest

from torchattr.bulk import PictureFolder, as_pictures
from torchattr.errors import InputError
from torchattr.models.collage import examples

FOLDER = examples()[0].path.parent


@pytest.mark.parametrize("data", [FOLDER, str(FOLDER)])
def test_a_folder_is_opened(data: str | Path) -> None:
    assert isinstance(as_pictures(data), PictureFolder)


def test_pictures_stay_what_they_are() -> None:
    pictures = PictureFolder(FOLDER)
    assert as_pictures(pictures) is pictures


@pytest.mark.parametrize("data", [3, "no/such/folder", None])
def test_anything_else_is_refused(data: object) -> None:
    with pytest.raises(InputError, match="data must be"):
        as_pictures(data)
