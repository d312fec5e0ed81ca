"""Bad input, tried on every metric: each refusal names what is wrong in a sentence."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from measured import SmallNet
from torch import Tensor

import torchattr.evaluate as ev
from torchattr.errors import (
    FewSamplesWarning,
    InputError,
    ShapeError,
    TorchattrError,
    UndefinedMetricWarning,
)

N, SIZE = 3, (6, 8)
TARGET = [0, 1, 2]

Measure = Callable[[Tensor], Any]


def net() -> SmallNet:
    torch.manual_seed(0)
    return SmallNet().eval()


def pictures() -> Tensor:
    return torch.rand(N, 2, *SIZE, generator=torch.Generator().manual_seed(0))


def maps(*size: int) -> Tensor:
    return torch.randn(N, 2, *(size or SIZE), generator=torch.Generator().manual_seed(1))


def masks() -> Tensor:
    found = torch.zeros(N, *SIZE, dtype=torch.bool)
    found[:, 1:4, 2:5] = True
    return found


def of_model(metric: Callable[..., Any], **options: Any) -> Measure:
    return lambda given: metric(net(), pictures(), given, TARGET, **options)


def in_blocks(metric: Callable[..., Any]) -> Measure:
    return of_model(metric, feature_mask=ev.blocks(pictures(), 2))


def of_explanation(metric: Callable[..., Any], **options: Any) -> Measure:
    """A metric of a function that explains each copy of an example by the same map."""

    def measure(given: Tensor) -> Any:
        def explanation(inputs: Tensor, **_: Any) -> Tensor:
            return given.repeat_interleave(len(inputs) // len(given), 0)

        return metric(explanation, pictures(), **options)

    return measure


def with_masks(metric: Callable[..., Any], **options: Any) -> Callable[[Tensor, Tensor], Any]:
    return lambda given, mask: metric(given, mask, **options)


def pointing(given: Tensor, mask: Tensor) -> Any:
    found = ev.pointing_game(list(given.sum(1)), list(mask), range(N))
    return torch.tensor([found.by_class[number] for number in range(N)])


ON_MASKS = {
    "relevance_mass": with_masks(ev.relevance_mass),
    "relevance_rank": with_masks(ev.relevance_rank),
    "attribution_localisation": with_masks(ev.attribution_localisation),
    "localisation_auc": with_masks(ev.localisation_auc),
    "top_k_intersection": with_masks(ev.top_k_intersection, k=5),
    "pointing_game": pointing,
}

ON_GRIDS: dict[str, Measure] = {
    "cell_shares": ev.cell_shares,
    "grid_localisation": lambda given: ev.grid_localisation(given[[0, 1, 2, 0]][None]),
}

ON_MAPS: dict[str, Measure] = {
    "gini_index": ev.gini_index,
    "entropy": ev.entropy,
    "effective_complexity": ev.effective_complexity,
    "sufficiency": lambda given: ev.sufficiency(given, [0, 0, 1]),
    "consistency": lambda given: ev.consistency(given, [0, 0, 1]),
    "completeness": of_model(ev.completeness),
}
"""Metrics of maps of any size: of them alone, or of their sum."""

COMPARED: dict[str, Measure] = {
    "map_similarity": lambda given: ev.map_similarity(given.sum(1), maps().sum(1)),
}

ON_MODELS: dict[str, Measure] = {
    "deletion_curve": in_blocks(ev.deletion_curve),
    "insertion_curve": in_blocks(ev.insertion_curve),
    "pixel_flipping": in_blocks(ev.pixel_flipping),
    "both_orders": lambda given: ev.both_orders(
        ev.pixel_flipping, net(), pictures(), given, TARGET
    ),
    "region_perturbation": of_model(ev.region_perturbation, size=2),
    "selectivity": of_model(ev.selectivity, size=2),
    "irof": of_model(ev.irof, size=2),
    "road": of_model(ev.road),
    "single_deletion": in_blocks(ev.single_deletion),
    "faithfulness_correlation": in_blocks(ev.faithfulness_correlation),
    "faithfulness_estimate": in_blocks(ev.faithfulness_estimate),
    "sensitivity_n": in_blocks(ev.sensitivity_n),
    "monotonicity": in_blocks(ev.monotonicity),
    "monotonicity_correlation": in_blocks(ev.monotonicity_correlation),
    "infidelity": of_model(ev.infidelity),
    "square_infidelity": of_model(ev.square_infidelity, size=2),
    "non_sensitivity": in_blocks(ev.non_sensitivity),
}

STABILITY = {"model": net()}
ON_EXPLANATIONS: dict[str, Measure] = {
    "sensitivity_max": of_explanation(ev.sensitivity_max),
    "sensitivity_average": of_explanation(ev.sensitivity_average),
    "local_lipschitz": of_explanation(ev.local_lipschitz),
    "continuity": of_explanation(ev.continuity, steps=3),
    "relative_input_stability": of_explanation(ev.relative_input_stability, **STABILITY),
    "relative_output_stability": of_explanation(ev.relative_output_stability, **STABILITY),
    "relative_representation_stability": of_explanation(
        ev.relative_representation_stability, layer="1", **STABILITY
    ),
    "robustness": of_explanation(ev.robustness, layer="1", **STABILITY),
}

ELSEWHERE = {
    "input_invariance": "test_input_invariance.py: what it is given is a method",
    "mprt": "test_randomisation.py: it makes the maps itself, of copies of the model",
    "smooth_mprt": "test_randomisation.py: as for mprt",
    "efficient_mprt": "test_complexity_rise.py: as for mprt",
    "random_logit": "test_other_class.py: as for mprt",
}
"""Metrics that are given methods, not maps, with their tests."""

NO_METRICS = {
    *("benchmark", "planted", "check", "common_stats", "blocks", "superpixels", "uniform_noise"),
    *("bootstrap_interval", "resampled_means", "perturbed_by", "picture_grid", "points_at"),
    *("mask_of_boxes", "seen_box", "share_seen"),
}
"""What else `torchattr.evaluate` has."""


def with_good_masks(measure: Callable[[Tensor, Tensor], Any]) -> Measure:
    return lambda given: measure(given, masks())


MASKED = {name: with_good_masks(measure) for name, measure in ON_MASKS.items()}
SIZED = {**ON_MODELS, **{key: one for key, one in MASKED.items() if key != "pointing_game"}}
"""Metrics whose maps must have the size of the picture."""
ALL = {**MASKED, **ON_GRIDS, **ON_MAPS, **COMPARED, **ON_MODELS, **ON_EXPLANATIONS}

RANKED = {
    *("relevance_rank", "localisation_auc", "top_k_intersection", "map_similarity"),
    *("single_deletion", "faithfulness_correlation", "faithfulness_estimate", "sensitivity_n"),
    *("monotonicity", "monotonicity_correlation", "pointing_game"),
    *("deletion_curve", "insertion_curve", "pixel_flipping", "region_perturbation"),
    *("selectivity", "irof", "road", "both_orders"),
}
"""Metrics of the order of a map's elements, which a constant map does not have."""

METRIC_OF = {
    "both_orders": "pixel_flipping",
    "map_similarity": "the similarity",
    **dict.fromkeys(("faithfulness_correlation", "sensitivity_n"), "the correlation"),
}
"""What warnings call a metric, if not by its name."""


def values_of(found: Any) -> Tensor:
    """The values of a metric for each map."""
    if isinstance(found, ev.Curve):
        return torch.cat([found.scores, found.auc[:, None], found.aopc[:, None]], -1)
    if isinstance(found, ev.BothOrders):
        return torch.stack([found.combined, found.area_between], -1)
    return torch.as_tensor(found)


def test_every_metric_is_tried() -> None:
    public = {name for name, one in vars(ev).items() if inspect.isfunction(one)}
    assert public == {*ALL, *ELSEWHERE, *NO_METRICS}


@pytest.mark.parametrize("name", ALL)
def test_good_maps_are_measured(name: str) -> None:
    with warnings.catch_warnings():
        # No two of these maps are similar.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        ALL[name](maps())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", [name for name in ALL if name not in COMPARED])
def test_maps_that_are_not_finite_are_refused(name: str, value: float) -> None:
    given = maps()
    given[1, 0, 2, 3] = value
    with pytest.raises(InputError, match=r"holds? (NaN|infinite)"):
        ALL[name](given)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.0])
def test_similarity_with_such_a_map_is_undefined(value: float) -> None:
    given = maps()
    given[1] = value
    with pytest.warns(UndefinedMetricWarning, match="NaN for 1 of 3") as heard:
        found = COMPARED["map_similarity"](given)
    assert len(heard) == 1
    assert found.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("name", sorted(RANKED))
def test_ranks_of_constant_maps_are_undefined_with_one_warning(name: str, value: float) -> None:
    given = maps()
    given[1] = value
    with pytest.warns(UndefinedMetricWarning, match="NaN for 1 of 3") as heard:
        found = values_of(ALL[name](given))
    assert len(heard) == 1
    assert f"{METRIC_OF.get(name, name)} is undefined" in str(heard[0].message)
    assert bool(found[1].isnan().all())
    assert not bool(found[[0, 2]].isnan().any())


@pytest.mark.parametrize("name", ["relevance_mass", "attribution_localisation", "cell_shares"])
def test_shares_of_nothing_are_undefined_with_one_warning(name: str) -> None:
    given = maps()
    given[1] = 0.0
    with pytest.warns(UndefinedMetricWarning, match="NaN for 1 of 3") as heard:
        found = ALL[name](given)
    assert len(heard) == 1
    assert bool(found[1].isnan().all())


@pytest.mark.parametrize("size", [(3, 4), (12, 16), (5, 7)])
@pytest.mark.parametrize("name", SIZED)
def test_maps_of_another_size_are_refused(name: str, size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=r"shape"):
        SIZED[name](maps(*size))


@pytest.mark.parametrize("name", ON_GRIDS)
def test_maps_that_the_cells_do_not_divide_are_refused(name: str) -> None:
    with pytest.raises(ShapeError, match="a grid of 2 x 2 cells does not divide maps of 5 x 7"):
        ON_GRIDS[name](maps(5, 7))


@pytest.mark.parametrize("name", {**SIZED, **COMPARED})
def test_another_number_of_maps_is_refused(name: str) -> None:
    with pytest.raises(TorchattrError, match="shape"):
        {**SIZED, **COMPARED}[name](maps()[:2])


@pytest.mark.parametrize(("word", "is_full"), [("empty", False), ("full", True)])
@pytest.mark.parametrize("name", ON_MASKS)
def test_masks_of_nothing_and_everything_are_refused(name: str, word: str, is_full: bool) -> None:
    given = masks()
    given[1] = is_full
    with pytest.raises(InputError, match=rf"is {word}, so that it cannot tell maps apart"):
        ON_MASKS[name](maps(), given)


def test_fewer_classes_than_cells_are_refused() -> None:
    with pytest.raises(InputError, match="needs pictures of 4 different classes, but labels has 3"):
        ev.picture_grid(pictures(), TARGET)


@pytest.mark.parametrize(
    "interval",
    [
        lambda: ev.bootstrap_interval([0.5]),
        lambda: ev.bootstrap_interval(torch.tensor([[0.5], [torch.nan]])),
        lambda: ev.benchmark(n=1, methods="saliency", metrics="mass").intervals,
    ],
)
def test_a_single_sample_has_no_interval(interval: Callable[[], Any]) -> None:
    with pytest.warns(FewSamplesWarning, match="needs at least two samples, but a mean has one"):
        found = interval()
    assert bool(found.low.isnan().all())
    assert not bool(found.value.isnan().any())
