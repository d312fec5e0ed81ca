"""Paths as users write them: `~` is the home folder wherever a path is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import torchattr as ta
from torchattr.core.paths import expanded
from torchattr.errors import InputError, TorchattrError
from torchattr.models import find_images, load_model, read_image, run_file
from torchattr.models.weights import read_weights
from torchattr.results import RunFolder

NOBODY = "~nobody-of-this-name/file"


def test_the_home_folder_is_written_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert expanded("~/a.png", InputError) == tmp_path / "a.png"
    assert expanded("a/~/b", InputError) == Path("a/~/b")


def test_an_unknown_user_is_a_sentence() -> None:
    with pytest.raises(InputError, match=r"^out: ~nobody.* cannot be found .*write out the path"):
        expanded(NOBODY, InputError, "out: ")


@pytest.mark.parametrize(
    "given",
    [
        read_image,
        find_images,
        run_file,
        read_weights,
        RunFolder,
        lambda path: load_model(f"{path}.py:net"),
        lambda path: load_model(f"{path}.pt2"),
        lambda path: load_model(f"{path}.pth"),
        lambda path: load_model("demo", path),
        lambda path: load_model("torchvision:resnet18", path),
        ta.open_maps,
    ],
)
def test_wherever_a_path_is_given(given: Callable[[str], Any]) -> None:
    with pytest.raises(TorchattrError, match=r"~nobody.* cannot be found .*write out the path"):
        given(NOBODY)


def test_where_maps_are_written() -> None:
    pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")
    with pytest.raises(InputError, match=r"~nobody.* cannot be found .*write out the path"):
        ta.run("demo", ".", "saliency", out=NOBODY)
