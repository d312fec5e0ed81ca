"""The metrics of many methods at once are those of each method alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ground_truth.labelled import SIDE, labelled

import torchattr.evaluate as ev
from torchattr.core.squares import squares
from torchattr.errors import InputError
from torchattr.evaluate.ground_truth import metrics as table
from torchattr.evaluate.ground_truth.metrics import METRICS, asked_metrics

METHODS = 3


@pytest.fixture(scope="module")
def maps():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(METHODS, 5, SIDE, SIDE, generator=generator, dtype=torch.float64)


def alone(name, pictures, own):
    """What the function of `torchattr.evaluate` says of the maps of one method."""
    own32 = own.float()[:, None]
    forwards = (pictures.model, pictures.inputs, own32, pictures.targets)
    blocks = {"feature_mask": squares(pictures.inputs, table.BLOCKS)}
    road = {"fractions": table.ROAD_FRACTIONS}
    return {
        "mass": lambda: ev.relevance_mass(own, pictures.masks),
        "positive": lambda: ev.attribution_localisation(own, pictures.masks),
        "relevance rank": lambda: ev.relevance_rank(own, pictures.masks),
        "top 5%": lambda: ev.top_k_intersection(own, pictures.masks, k=13),
        "auc": lambda: ev.localisation_auc(own, pictures.masks),
        "gini": lambda: ev.gini_index(own),
        "entropy": lambda: ev.entropy(own),
        "deletion": lambda: ev.deletion_curve(*forwards, steps=table.STEPS, **blocks).auc,
        "insertion": lambda: ev.insertion_curve(*forwards, steps=table.STEPS, **blocks).auc,
        "road": lambda: (
            (
                ev.road(*forwards, order="least", **road).auc
                - ev.road(*forwards, order="most", **road).auc
            )
            / 2
        ),
        "sets": lambda: ev.faithfulness_correlation(*forwards, n_samples=table.SETS, **blocks),
        "single": lambda: ev.single_deletion(*forwards, **blocks),
    }[name]()


@pytest.mark.parametrize(
    "name", [name for name in METRICS if METRICS[name].on == "scenes" and name != "pointing"]
)
def test_each_metric_is_that_of_each_method_alone(name, maps) -> None:
    pictures = labelled()
    found = METRICS[name].measure(pictures, maps)
    assert found.shape == (METHODS, 5)
    for row, own in zip(found, maps, strict=True):
        expected = alone(name, pictures, own)
        torch.testing.assert_close(row, expected, check_dtype=False, rtol=1e-5, atol=1e-6)


def test_methods_share_the_forwards_that_do_not_depend_on_their_maps(maps) -> None:
    pictures, seen = labelled(), []
    pictures.model.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    METRICS["single"].measure(pictures, maps[:1])
    of_one = sum(seen)
    seen.clear()
    METRICS["single"].measure(pictures, maps)
    assert sum(seen) == of_one


def test_pointing_by_hand() -> None:
    pictures = labelled(2)
    maps = torch.zeros(2, 2, SIDE, SIDE)
    maps[0, 0, 3, 1] = maps[0, 1, 15, 15] = maps[1, 0, 15, 0] = maps[1, 1, 4, 5] = 1.0
    assert METRICS["pointing"].measure(pictures, maps).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_the_share_of_the_cell_by_hand() -> None:
    half = SIDE // 2
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    masks[0, :half, :half] = masks[1, half:, half:] = True
    grids = replace(labelled(2), masks=masks, boxes=())
    maps = torch.full((1, 2, SIDE, SIDE), -1.0)
    maps[0, :, 0, 0], maps[0, :, -1, -1] = 3.0, 1.0
    np.testing.assert_allclose(METRICS["grid"].measure(grids, maps), [[0.75, 0.25]])


def test_a_constant_map_is_undefined_or_that_of_the_area() -> None:
    pictures, flat = labelled(), torch.ones(1, 5, SIDE, SIDE)
    area = pictures.masks.double().mean((1, 2))
    torch.testing.assert_close(METRICS["mass"].measure(pictures, flat)[0], area)
    for name in ("relevance rank", "top 5%", "auc", "pointing", "deletion", "insertion", "road"):
        with pytest.warns(ev_warning(), match="is constant|are worth the same") as heard:
            assert bool(METRICS[name].measure(pictures, flat).isnan().all())
        assert len(heard) == 1


def ev_warning():
    from torchattr.errors import UndefinedMetricWarning

    return UndefinedMetricWarning


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "metrics is empty"),
        ("iou", "metrics must be some of mass, .* got 'iou'"),
        (["mass", "mass"], "metrics has mass twice"),
    ],
)
def test_wrong_names(names, said) -> None:
    with pytest.raises(InputError, match=said):
        asked_metrics(names)


def test_titles_point_to_where_a_metric_is_better() -> None:
    assert METRICS["deletion"].title == "deletion ↓"
    assert METRICS["deletion"].sign == -1
    assert [one.name for one in asked_metrics("mass")] == ["mass"]
    assert len(asked_metrics(None)) == len(METRICS)
