"""`~` in the paths that commands take, where a shell leaves it alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command import call
from PIL import Image

from torchattr.models import load_model


@pytest.fixture
def home(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the test's models and pictures as home, and another one to run in."""
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("USERPROFILE", str(here))
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    return here


MODEL = ("--model", "~/models.py:relu", "--method", "saliency")


def test_pictures_models_weights_and_destinations(home: Path) -> None:
    made = load_model(str(home / "models.py:relu"))
    torch.save(made.model.state_dict(), home / "weights.pt")
    places = ("--out=~/results", "--html=~/page.html")
    done = call("explain", "~/photo.png", *MODEL, "--weights=~/weights.pt", *places)
    assert done.exit_code == 0, done.output
    assert (home / "results/photo.png").exists()
    assert (home / "page.html").exists()
    assert not any(Path().iterdir())


def test_a_pattern_and_a_mask(home: Path) -> None:
    with Image.open(home / "photo.png") as photo:
        Image.new("L", photo.size, 255).save(home / "mask.png")
    segments = ("--model", "~/models.py:segments", "--method", "saliency")
    done = call("explain", "~/phot*.png", *segments, "--target", "mask:~/mask.png,0")
    assert done.exit_code == 0, done.output


def test_files_that_are_loaded(home: Path) -> None:
    (home / "own.py").write_text("print('it ran')")
    for command in ("info", "explain"):
        done = call(command, "--load=~/own.py", *(("~/photo.png", *MODEL) * (command == "explain")))
        assert done.exit_code == 0, done.output
        assert "it ran" in done.stdout


def test_users_that_there_are_not(home: Path) -> None:
    for option in ("--load=~nobody-of-this-name/x.py", "--weights=~nobody-of-this-name/x.pt"):
        refused = call("explain", "~/photo.png", *MODEL, option)
        assert refused.exit_code == 2
        assert "write out the path" in refused.stderr
