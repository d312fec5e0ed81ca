"""Gains, verdicts and the report's forms."""

from __future__ import annotations

import json

import pytest
import torch

from torchattr.evaluate import planted
from torchattr.evaluate.ground_truth.planted_report import PlantedReport, gains_of


def report(*gains: float, shown: float = 1.0) -> PlantedReport:
    """One method and a control in a case for each gain, the same for all pictures."""
    values = torch.tensor([gains, [0.0] * len(gains)], dtype=torch.float64)
    return PlantedReport(
        ["own", "(random)"],
        {f"case {k}": "This decides." for k in range(len(gains))},
        values.expand(12, -1, -1),
        torch.full(values.shape, shown),
        {},
        {},
        0,
    )


def test_gains_by_hand() -> None:
    truth = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    truth[..., 0, 0] = True
    maps = torch.tensor([[[[3.0, 0.0], [-1.0, 0.0]]], [[[0.0, 1.0], [0.0, 1.0]]]])
    maps = torch.cat([maps, torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2), maps[:1] * 0 + 2])
    found = gains_of(maps, truth.expand(5, -1, -1, -1))
    torch.testing.assert_close(
        found, torch.tensor([(0.75 - 0.25) / 0.75, -1 / 3, 0.0, 0.0, 0.0], dtype=torch.float64)
    )


def test_what_all_elements_have_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(4, 1, 6, 6, generator=generator, dtype=torch.float64)
    truth = maps > 0.7
    torch.testing.assert_close(gains_of(maps + 5, truth), gains_of(maps, truth))


def test_coarse_maps_are_enlarged_and_channels_added() -> None:
    truth = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    truth[..., :2, :2] = True
    coarse = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert gains_of(coarse, truth).item() == pytest.approx(1.0)
    channels = torch.zeros(1, 2, 4, 4)
    channels[0, 0, 0, 0], channels[0, 1, 3, 3] = 1.0, -1.0
    assert gains_of(channels, truth).item() == pytest.approx((0.5 - 0.25) / 0.75)


def test_channels_that_decide() -> None:
    truth = torch.zeros(1, 3, 2, 2, dtype=torch.bool)
    truth[:, 0] = True
    maps = torch.zeros(1, 3, 2, 2)
    maps[:, 0, 0, 0] = 1.0
    assert gains_of(maps, truth).item() == pytest.approx(1.0)
    assert gains_of(torch.rand(1, 1, 2, 2), truth).isnan().all()
    assert gains_of(torch.rand(1, 1, 2, 2).expand(-1, 3, -1, -1), truth).isnan().all()


def test_verdicts_by_gain() -> None:
    made = report(0.8, 0.79, 0.2, 0.19, -1.0, float("nan"))
    said = [made.verdict("own", f"case {k}") for k in range(6)]
    assert said == ["found", "partly", "partly", "misses", "misses", "–"]
    assert report(0.0, shown=0.0).verdict("own", "case 0") == "nothing"


def test_unknown_rows_and_cases_are_named() -> None:
    with pytest.raises(KeyError, match="'other' is not in the report; there are: own"):
        report(1.0).verdict("other", "case 0")
    with pytest.raises(KeyError, match="'tree' is not in the report; there are: case 0"):
        report(1.0).verdict("own", "tree")


def test_forms(tmp_path) -> None:
    found = planted(["saliency", "raw_attention"], ["stamp", "saturated"], n=10)
    said = str(found)
    assert "saliency       found 1.00" in said
    assert "stamp: A stamp in the upper left corner decides" in said
    assert found.ranking[0] == "saliency"
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["verdicts"]["saliency"] == {"stamp": "found", "saturated": "nothing"}
    assert plain["gains"]["value"][1] == [None, None]
    assert "self-attention" in plain["refused"]["raw_attention, stamp"]
    names = {path.name for path in found.save(tmp_path / "out")}
    assert {"report.png", "report.txt", "report.npz"} <= names
    assert repr(found) == "PlantedReport(2 methods × stamp, saturated)"
    assert "<img" in found._repr_html_()
