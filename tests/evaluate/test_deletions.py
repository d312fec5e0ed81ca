"""Deletions step by step, recomputed where the last step changed something, and whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError
from torchattr.evaluate import (
    blocks,
    deletion_curve,
    faithfulness_correlation,
    insertion_curve,
    single_deletion,
)
from torchattr.evaluate.deletions import Deletions
from torchattr.incremental import Recomputed
from torchattr.methods._perturbation import incremental_scores

EXACT = 1e-12
X = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
MAPS = noise(3, 1, 16, 16, seed=4)
SQUARES = blocks(X, 4)
OF_EACH = torch.cat([SQUARES, SQUARES.flip(3), SQUARES % 5])


class Net(nn.Module):
    """Convolutions with a residual sum, padding by reflection, a gate on channels, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.conv, self.norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.pad, self.squeeze = nn.ReflectionPad2d(1), nn.Conv2d(6, 6, 1)
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        nn.init.normal_(self.norm.running_mean)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        x = self.pad(self.stem(x))
        x = torch.relu_(self.norm(self.conv(x)) + x)
        x = x * self.squeeze(x.mean((2, 3), keepdim=True)).sigmoid()
        x = self.head(self.down(x))
        return x if scale is None else x * scale[:, None]


MODEL = seeded(Net).double()


def both(curve: Any, *args: Any, **options: Any) -> tuple[Tensor, Tensor, Recomputed]:
    reports: list[Recomputed] = []
    found = curve(*args, incremental=True, report=reports.append, **options)
    return found.scores, curve(*args, incremental=False, **options).scores, reports[0]


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
@pytest.mark.parametrize("rows", [1, 7, 128])
@pytest.mark.parametrize("most", [2**29, 1])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"feature_mask": OF_EACH, "target": [0, 1, 2]},
        {"feature_mask": None, "steps": 6, "order": "least"},
        {"baselines": noise(3, 3, 16, 16), "additional_forward_args": noise(3, seed=2)},
    ],
    ids=["blocks", "masks", "pixels", "arguments"],
)
def test_steps_equal_whole_forwards(
    options: dict[str, Any], most: int, rows: int, curve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental_scores, "CPU_ROWS", rows)
    monkeypatch.setattr(incremental_scores, "MOST_RECORDED", most)
    before = X.clone(), MAPS.clone()
    given = {"target": 1, "feature_mask": SQUARES, "baselines": 0, **options}
    stepped, whole, report = both(curve, MODEL, X, MAPS, **given)
    assert report.followed > 0
    assert_same(stepped, whole, EXACT)
    assert torch.equal(X, before[0])
    assert torch.equal(MAPS, before[1])


def test_each_target_walks_its_own_way() -> None:
    maps = torch.stack([MAPS, MAPS.flip(-1)], 1)
    given = {"target": ta.Classes(2, 0), "feature_mask": SQUARES}
    stepped, whole, _ = both(deletion_curve, MODEL, X, maps, **given)
    assert_same(stepped, whole, EXACT)


def test_inputs_that_are_no_pictures_join_in() -> None:
    def model(x: Tensor, extra: Tensor) -> Tensor:
        return MODEL(x) * extra.sum(1, keepdim=True)

    masks = SQUARES, torch.tensor([[0, 5, 99]])
    maps = MAPS, noise(3, 3, seed=8)
    stepped, whole, report = both(
        deletion_curve, model, (X, noise(3, 3)), maps, target=1, feature_mask=masks
    )
    assert report.followed > 0
    assert_same(stepped, whole, EXACT)


def test_a_chunk_that_fails_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has changed what the next step is compared with."""
    calls, run = [], incremental_scores.Incremental.around

    def failing(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("no memory")
        return run(*args)

    monkeypatch.setattr(incremental_scores, "CPU_ROWS", 9)
    monkeypatch.setattr(incremental_scores.Incremental, "around", failing)
    stepped, whole, report = both(deletion_curve, MODEL, X, MAPS, target=1, feature_mask=SQUARES)
    assert len(calls) == 2
    assert "no memory" in report.reasons[0]
    assert torch.equal(stepped, whole)


@pytest.mark.parametrize("metric", [deletion_curve, single_deletion, faithfulness_correlation])
def test_all_metrics_take_the_same_options(metric: Any) -> None:
    with refused(InputError, "incremental must be True, False or 'auto'", "'no'"):
        metric(MODEL, X, MAPS, 1, incremental="no")
    with pytest.raises(TypeError, match="baseline"):
        metric(MODEL, X, MAPS, 1, baseline=0)
    reports: list[Recomputed] = []
    metric(MODEL, X, MAPS, 1, feature_mask=SQUARES, report=reports.append)
    assert len(reports) == 1


def test_maps_that_cannot_be_ranked() -> None:
    broken = MAPS.clone()
    broken[1, 0, 0, 0] = torch.nan
    with refused(InputError, "attributions holds NaN"):
        deletion_curve(MODEL, X, broken, 1)
    with refused(ta.ShapeError, "(3, 1, 8, 8)", "interpolate"):
        single_deletion(MODEL, X, MAPS[..., :8, :8], 1)


@pytest.mark.parametrize("model", ["resnet", None, 3])
def test_what_is_no_model_is_named(model: Any) -> None:
    x = torch.ones(1, 3)
    with refused(InputTypeError, "model must be an nn.Module or a function", type(model).__name__):
        Deletions(model, x, x, None)
    with refused(InputTypeError, "report must be a function"):
        Deletions(lambda x: x, x, x, 0, report="a")  # type: ignore[arg-type]
