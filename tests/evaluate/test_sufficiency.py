"""Sufficiency against a loop over all pairs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import refused

from torchattr.errors import InputError, InputTypeError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate import sufficiency

GENERATOR = torch.Generator().manual_seed(1)
MAPS = torch.rand(9, 2, 4, 5, generator=GENERATOR, dtype=torch.float64)
LABELS = [0, 1, 1, 0, 2, 1, 0, 0, 1]


@pytest.mark.parametrize("threshold", [0.65, 0.8, 2.0])
def test_equals_a_loop_over_pairs(threshold: float) -> None:
    before = MAPS.clone()
    found = sufficiency(MAPS, torch.tensor(LABELS), threshold=threshold).tolist()
    flat = [one.sum(0).flatten().tolist() for one in MAPS]
    scaled = [[value / sum(v * v for v in row) ** 0.5 for value in row] for row in flat]
    for i, own in enumerate(scaled):
        similar = [
            LABELS[j] == LABELS[i]
            for j, other in enumerate(scaled)
            if j != i
            and sum((a - b) ** 2 for a, b in zip(own, other, strict=True)) ** 0.5 <= threshold
        ]
        assert similar
        assert found[i] == pytest.approx(sum(similar) / len(similar), rel=0, abs=1e-10)
    assert torch.equal(MAPS, before)


def test_where_no_other_map_is_similar() -> None:
    maps = torch.zeros(4, 1, 3)
    maps[0, 0, 0] = maps[1, 0, 0] = maps[2, 0, 1] = 1.0
    with pytest.warns(UndefinedMetricWarning, match="no other map is similar.* 2 of 4") as caught:
        found = sufficiency(maps, [0, 0, 1, 1])
    assert len(caught) == 1
    assert found[:2].tolist() == [1.0, 1.0]
    assert found[2:].isnan().all()
    with pytest.warns(UndefinedMetricWarning, match="1 of 1"):
        assert sufficiency(maps[:1], [0]).isnan().all()


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"labels": LABELS[:3]}, ShapeError, "one class for each of 9 maps, got the shape (3,)"),
        ({"labels": "cats"}, InputTypeError, "labels must hold a class"),
        ({"threshold": -1}, InputError, "threshold must be from 0 to 2, got -1"),
        ({"maps": MAPS * torch.nan}, InputError, "maps[0] holds NaN"),
    ],
)
def test_wrong_arguments_are_named(options: Any, error: Any, says: str) -> None:
    with refused(error, says):
        sufficiency(**{"maps": MAPS, "labels": LABELS, **options})
