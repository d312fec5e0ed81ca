from __future__ import annotations

import numpy as np
import pytest
import torch
from asked import CELLS, MASKS, X, Y
from helpers import assert_same, refused

from torchattr import evaluate, quantus
from torchattr.errors import InputError, UndefinedMetricWarning

MAPS = X[:, :1] - 0.5
TENSORS, INSIDE = torch.from_numpy(MAPS), torch.from_numpy(MASKS)


def scores(metric: quantus.Metric, maps: np.ndarray = MAPS, **options: object) -> torch.Tensor:
    found = metric(None, X, Y, maps, MASKS, **options)
    return torch.tensor(found, dtype=torch.float64)


def test_they_are_the_functions_of_evaluate() -> None:
    assert_same(scores(quantus.AUC()), evaluate.localisation_auc(TENSORS, INSIDE), 1e-12)
    assert_same(
        scores(quantus.RelevanceMassAccuracy()),
        evaluate.relevance_mass(TENSORS, INSIDE, sign="positive"),
        1e-12,
    )
    assert_same(
        scores(quantus.RelevanceMassAccuracy(abs=True)),
        evaluate.relevance_mass(TENSORS, INSIDE),
        1e-12,
    )
    ranked = evaluate.relevance_rank(TENSORS, INSIDE).double()
    assert_same(scores(quantus.RelevanceRankAccuracy()), ranked, 1e-7)
    for weighted in (False, True):
        assert_same(
            scores(quantus.AttributionLocalisation(weighted=weighted)),
            evaluate.attribution_localisation(TENSORS.abs(), INSIDE, weighted=weighted),
            1e-12,
        )
    top = evaluate.top_k_intersection(TENSORS, INSIDE, 7).double()
    assert_same(scores(quantus.TopKIntersection(k=7)), top, 1e-7)
    influence = scores(quantus.TopKIntersection(k=7, concept_influence=True))
    assert_same(influence, top * 64 / 16, 1e-7)


def test_pointing_needs_all_maxima_in_the_mask() -> None:
    maps = np.zeros((4, 1, 8, 8))
    maps[0, 0, 3, 3] = maps[1, 0, 0, 0] = maps[2, 0, 3, 3] = maps[2, 0, 0, 0] = 1
    maps[3] = 2
    with pytest.warns(UndefinedMetricWarning, match="constant"):
        found = scores(quantus.PointingGame(), maps)
    assert found[:3].tolist() == [1.0, 0.0, 0.0]
    assert bool(found[3].isnan())
    weighted = scores(quantus.PointingGame(weighted=True, disable_warnings=True), maps)
    assert weighted[:3].tolist() == [0.75, 0.0, 0.0]


def test_any_number_of_maxima_in_the_mask_is_a_hit() -> None:
    maps, masks = np.zeros((49, 1, 8, 8)), np.zeros((49, 8, 8), bool)
    for number in range(49):
        maps[number].flat[: number + 1] = 1
    masks[:, :7] = True
    found = quantus.PointingGame()(None, np.zeros((49, 1, 8, 8)), np.zeros(49), maps, masks)
    assert found == [1.0] * 49
    top = evaluate.top_k_intersection(torch.from_numpy(maps), torch.from_numpy(masks), k=1)
    assert top.tolist() == [1.0] * 49


def test_empty_masks_are_refused() -> None:
    with refused(InputError, "masks[0] is empty"):
        quantus.PointingGame()(None, X, Y, MAPS, np.zeros_like(MASKS))


def test_focus_is_the_share_of_the_marked_cells() -> None:
    found = scores(quantus.Focus(), custom_batch=CELLS)
    expected = []
    for (own,), marks in zip(np.clip(MAPS, 0, None), CELLS, strict=True):
        cells = [own[:4, :4], own[:4, 4:], own[4:, :4], own[4:, 4:]]
        inside = sum(float(cell.sum()) * mark for cell, mark in zip(cells, marks, strict=True))
        expected.append(inside / float(own.sum()))
    assert_same(found, torch.tensor(expected, dtype=torch.float64), 1e-12)
    with refused(InputError, "4 cells", "(4, 2)"):
        quantus.Focus()(None, X, Y, MAPS, custom_batch=CELLS[:, :2])
