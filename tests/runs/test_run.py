"""Jobs on images, one after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor

from torchattr.errors import RuleError
from torchattr.models import LoadedModel
from torchattr.results import RunFolder
from torchattr.runs import (
    ActivationsJob,
    ExplainJob,
    ExplainSettings,
    Note,
    PictureDone,
    Prediction,
    Skipped,
    Written,
    run_jobs,
)


@pytest.fixture
def loaded() -> LoadedModel:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    return LoadedModel("net", model, Compose([Resize((8, 8)), ToTensor()]), ("cat", "dog"))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    Image.new("RGB", (20, 20), (200, 90, 10)).save(tmp_path / "photo.png")
    (tmp_path / "broken.png").write_text("no picture")
    return [tmp_path / "broken.png", tmp_path / "photo.png"]


def events(jobs: list[Any], photos: list[Path], out: Path) -> list[Any]:
    with RunFolder(out) as sink:
        return list(run_jobs(photos, jobs, sink))


def test_what_happens_is_reported_in_its_order(
    loaded: LoadedModel, photos: list[Path], tmp_path: Path
) -> None:
    jobs = [ExplainJob(loaded, ExplainSettings(("grad_cam",))), ActivationsJob(loaded, ("1",))]
    seen = events(jobs, photos, tmp_path / "out")
    kinds = [type(event) for event in seen if not isinstance(event, Note)]
    assert kinds == [Skipped, Prediction, Written, Written, PictureDone]
    files = {path.name for event in seen if isinstance(event, Written) for path in event.files}
    assert files == {"photo.png", "photo.npz"}
    assert (tmp_path / "out" / "activations" / "1" / "photo.png").exists()


def test_the_chosen_layer_is_noted_in_the_words_of_whoever_shows_it(
    loaded: LoadedModel, photos: list[Path], tmp_path: Path
) -> None:
    seen = events([ExplainJob(loaded, ExplainSettings(("grad_cam",)))], photos[1:], tmp_path / "o")
    notes = [event.message for event in seen if isinstance(event, Note)]
    assert any("using layer='1'" in note for note in notes)
    assert any("using <layer>" in note.said(lambda name, value: f"<{name}>") for note in notes)


def test_rules_for_methods_without_any_are_refused_before_a_picture_is_read(
    loaded: LoadedModel,
) -> None:
    with pytest.raises(RuleError, match=r"rules=.* is for methods that rewrite"):
        ExplainJob(loaded, ExplainSettings(("saliency",), rules={"gelu": "guided"}))
