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
    BackProjectionsJob,
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


def shares(jobs: list[Any], photo: Path, out: Path) -> list[float]:
    told: list[float] = []
    with RunFolder(out) as sink:
        list(run_jobs([photo], jobs, sink, told.append))
    return told


@pytest.mark.parametrize(
    "methods", [("rise",), ("rise", "occlusion"), ("saliency", "rise", "integrated_gradients")]
)
def test_a_long_picture_says_how_much_of_it_is_done(
    loaded: LoadedModel, photos: list[Path], tmp_path: Path, methods: tuple[str, ...]
) -> None:
    options = ("rise.n_masks=64", "rise.perturbations_per_eval=8")
    settings = ExplainSettings(methods, options=options)
    told = shares([ExplainJob(loaded, settings)], photos[1], tmp_path / "out")
    assert told == sorted(set(told))
    assert len(told) > 8
    assert told[0] == 0
    assert told[-1] == 1
    # The methods share the picture.
    assert any(0.5 <= share < 1 for share in told)


def test_the_jobs_of_a_picture_share_it(
    loaded: LoadedModel, photos: list[Path], tmp_path: Path
) -> None:
    rise = ExplainJob(
        loaded,
        ExplainSettings(("rise",), options=("n_masks=32", "perturbations_per_eval=8")),
    )
    jobs = [rise, ActivationsJob(loaded, ("0",)), BackProjectionsJob(loaded, ("0",))]
    told = shares(jobs, photos[1], tmp_path / "out")
    assert told == sorted(told)
    assert sum(share < 1 / 3 for share in told) > 3
    assert sum(2 / 3 < share < 1 for share in told) > 0
    assert told[-1] == 1


def test_a_ledger_is_a_part_of_its_own(
    loaded: LoadedModel, photos: list[Path], tmp_path: Path
) -> None:
    settings = ExplainSettings(("lrp", "rise"), ledger=True, options=("rise.n_masks=32",))
    told = shares([ExplainJob(loaded, settings)], photos[1], tmp_path / "out")
    assert told == sorted(told)
    assert max(share for share in told if share < 1) < 0.5
