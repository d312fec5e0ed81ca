"""Quantus 0.6.0 itself: where it agrees, and what it does where the page says that it differs.

It is not among the packages of the tests, since it brings others; install the extra `bench`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from helpers import seeded
from torch import nn

from torchattr import evaluate
from torchattr import quantus as own

# This folder has the name of the package; of its modules only the package has any.
pytest.importorskip("quantus.metrics", reason="needs Quantus, of the extra 'bench'")
theirs = import_module("quantus")

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        getattr(theirs, "__version__", "0.6.0") != "0.6.0", reason="describes Quantus 0.6.0"
    ),
]


def model(channels: int = 1, bias: bool = True, padding: int = 1) -> nn.Module:
    side = 8 if padding else 6
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=padding, bias=bias),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * (side // 2) ** 2, 5),
        )
    )


NET = model()
X = np.random.default_rng(0).random((4, 1, 8, 8)).astype(np.float32)
Y = NET(torch.from_numpy(X)).argmax(1).numpy()
MASKS = np.zeros((4, 1, 8, 8), bool)
MASKS[:, :, 2:6, 1:5] = True
QUIET = {"disable_warnings": True}


def gradient(model: nn.Module, inputs: Any, targets: Any, **options: Any) -> np.ndarray:
    x = torch.as_tensor(np.asarray(inputs)).requires_grad_()
    rows = torch.arange(len(x))
    scores = model(x)[rows, torch.as_tensor(np.asarray(targets)).long()]
    (grad,) = torch.autograd.grad(scores.sum(), x)
    found: np.ndarray = grad.numpy()
    return found


def product(model: nn.Module, inputs: Any, targets: Any, **options: Any) -> np.ndarray:
    found: np.ndarray = (np.asarray(inputs) * gradient(model, inputs, targets)).sum(1)[:, None]
    return found


MAPS = product(NET, X, Y)


def scores(
    library: Any, name: str, /, *, call: dict[str, Any] | None = None, **options: Any
) -> Any:
    """Return what a library's metric finds for the examples above."""
    given: dict[str, Any] = {
        "model": NET,
        "x_batch": X.copy(),
        "y_batch": Y,
        "a_batch": MAPS.copy(),
        "explain_func": product,
        **(call or {}),
    }
    np.random.seed(0)
    quiet = QUIET if library is theirs else {}
    return getattr(library, name)(**options, **quiet)(**given)


MASKED = {"s_batch": MASKS}
SAME: dict[str, dict[str, Any]] = {
    "AUC": {"call": MASKED},
    "AttributionLocalisation": {"call": MASKED},
    "Complexity": {},
    "EffectiveComplexity": {},
    "FaithfulnessEstimate": {"features_in_step": 8},
    "Focus": {"call": {"custom_batch": np.eye(4, dtype=int)}},
    "PixelFlipping": {"features_in_step": 8},
    "PointingGame": {"call": MASKED},
    "RegionPerturbation": {"patch_size": 4, "regions_evaluation": 3},
    "RelevanceRankAccuracy": {"call": MASKED},
    "Selectivity": {"patch_size": 4},
    "Sparseness": {},
    "TopKIntersection": {"k": 10, "call": MASKED},
}
"""Metrics that agree, with options that make the calls small."""


@pytest.mark.parametrize("name", SAME)
def test_these_agree(name: str) -> None:
    found, expected = (scores(library, name, **SAME[name]) for library in (own, theirs))
    assert np.asarray(found, float) == pytest.approx(np.asarray(expected, float), abs=2e-5)


@pytest.mark.parametrize("name", ["AvgSensitivity", "FaithfulnessCorrelation"])
def test_these_differ_by_their_draws_alone(name: str) -> None:
    size = {"nr_runs": 1000} if name.startswith("Faith") else {"nr_samples": 500}
    size |= {"subset_size": 16} if name.startswith("Faith") else {}
    found, expected = (scores(library, name, **size) for library in (own, theirs))
    assert np.asarray(found) == pytest.approx(np.asarray(expected), rel=0.1, abs=0.02)


def test_normalising_makes_examples_depend_on_each_other() -> None:
    maps = np.concatenate([MAPS[:1], 1e6 * MAPS[:1]])
    call = {"x_batch": X[[0, 0]], "y_batch": Y[[0, 0]], "a_batch": maps}
    first = {key: value[:1] for key, value in call.items()}
    (alone,) = scores(theirs, "EffectiveComplexity", call=first, eps=0.1)
    assert list(scores(theirs, "EffectiveComplexity", call=call, eps=0.1)) == [0, alone]
    assert scores(own, "EffectiveComplexity", call=call, eps=0.1) == [alone, alone]


def test_monotonicity_restores_nothing() -> None:
    """The elements that it restores become black, as all others are: every map passes."""
    for maps in (MAPS, -MAPS, np.random.default_rng(1).normal(size=MAPS.shape)):
        call = {"a_batch": maps.copy()}
        assert scores(theirs, "Monotonicity", call=call, features_in_step=8) == [True] * 4
    assert scores(own, "Monotonicity", features_in_step=8) != [True] * 4


def test_consistency_counts_all_maps_as_equal() -> None:
    """Of magnitudes, the signs of the first five elements are the same for all maps."""
    found = scores(theirs, "Consistency")
    shares = [(sum(label == Y) - 1) / 3 for label in Y]
    assert np.asarray(found) == pytest.approx(shares, abs=1e-6)


def test_completeness_compares_a_normalised_map() -> None:
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 5)))
    whole = product(net, X, Y)
    call = {"model": net, "a_batch": whole}
    # Its baseline is the darkest element, so nothing else than a shift makes this complete.
    assert not any(scores(theirs, "Completeness", call=call, perturb_baseline=0.0))
    assert scores(own, "Completeness", call=call, perturb_baseline=0.0) == [True] * 4


def test_non_sensitivity_takes_one_element_at_a_time() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        scores(theirs, "NonSensitivity", features_in_step=8)
    assert len(scores(own, "NonSensitivity", features_in_step=8)) == 4


def test_input_invariance_shifts_all_elements_but_the_first() -> None:
    seen = []

    def explained(model: nn.Module, inputs: Any, targets: Any, **options: Any) -> np.ndarray:
        seen.append(np.asarray(inputs) - X)
        return gradient(model, inputs, targets)

    net = model(padding=0)
    call = {"model": net, "explain_func": explained, "a_batch": gradient(net, X, Y)}
    scores(theirs, "InputInvariance", call=call)
    assert (seen[-1].reshape(4, -1)[:, 0] == 0).all()
    assert seen[-1].reshape(4, -1)[:, 1:] == pytest.approx(-1.0, abs=1e-6)
    assert scores(own, "InputInvariance", call=call) == [True] * 4


@pytest.mark.parametrize("options", [{"padding": 1}, {"bias": False}])
def test_input_invariance_is_exact_for_any_first_layer(options: dict[str, Any]) -> None:
    net = model(**options)
    call = {"model": net, "explain_func": gradient, "a_batch": gradient(net, X, Y)}
    assert scores(own, "InputInvariance", call=call) == [True] * 4
    if "bias" in options:
        with pytest.raises(TypeError):
            scores(theirs, "InputInvariance", call=call)
    else:
        assert np.asarray(scores(theirs, "InputInvariance", call=call)).tolist() != [True] * 4


@pytest.mark.parametrize("name", ["Input", "Output", "Representation"])
def test_one_changed_prediction_makes_stability_undefined(name: str) -> None:
    options = {"nr_samples": 50, "perturb_func_kwargs": {"upper_bound": 2.0}}
    assert np.isnan(scores(theirs, f"Relative{name}Stability", **options)).any()
    assert not np.isnan(scores(own, f"Relative{name}Stability", **options)).any()


def test_stability_draws_noise_that_only_brightens() -> None:
    seen = []

    def explained(model: nn.Module, inputs: Any, targets: Any, **options: Any) -> np.ndarray:
        seen.append(np.asarray(inputs))
        return product(model, inputs, targets)

    scores(theirs, "RelativeInputStability", nr_samples=3, call={"explain_func": explained})
    changes = np.stack([one - X for one in seen if one.shape == X.shape and (one != X).any()])
    assert changes.min() >= 0.019
    assert changes.max() <= 0.201


def test_relevance_mass_is_no_share() -> None:
    found = np.asarray(scores(theirs, "RelevanceMassAccuracy", call=MASKED))
    assert ((found < 0) | (found > 1)).any()
    ours = np.asarray(scores(own, "RelevanceMassAccuracy", call=MASKED))
    assert ((ours >= 0) & (ours <= 1)).all()


def test_weights_of_localisation_depend_on_the_batch() -> None:
    def weighted(library: Any, count: int) -> Any:
        call = {"x_batch": X[:count], "y_batch": Y[:count], "a_batch": MAPS[:count].copy()}
        call["s_batch"] = MASKS[:count]
        return scores(library, "AttributionLocalisation", weighted=True, call=call)[0]

    assert weighted(theirs, 3) != pytest.approx(weighted(theirs, 4), rel=0.1)
    assert weighted(own, 3) == pytest.approx(weighted(own, 4), rel=1e-6)


def test_the_pointing_game_counts_empty_masks_and_fails_with_weights() -> None:
    call = {"s_batch": np.zeros_like(MASKS)}
    assert bool(scores(theirs, "PointingGame", call=call)[0])
    hit = np.zeros_like(MASKS)
    hit.reshape(4, -1)[np.arange(4), MAPS.reshape(4, -1).argmax(1)] = True
    with pytest.raises((TypeError, ValueError)):
        scores(theirs, "PointingGame", weighted=True, call={"s_batch": hit})
    found = scores(own, "PointingGame", weighted=True, call={"s_batch": hit})
    assert found == pytest.approx([63 / 64] * 4, rel=1e-9)


@pytest.mark.parametrize("name", ["Sparseness", "Complexity"])
def test_complexity_changes_the_maps_that_it_is_given(name: str) -> None:
    maps = np.abs(MAPS)
    for library, changes in ((theirs, True), (own, False)):
        given = maps.copy()
        scores(library, name, call={"a_batch": given}, normalise=False, abs=False)
        assert (not np.array_equal(given, maps)) == changes


@pytest.mark.parametrize("name", ["SensitivityN", "ROAD"])
def test_only_the_first_batch_counts(name: str) -> None:
    options: dict[str, Any] = {"features_in_step": 8} if name == "SensitivityN" else {}
    options |= {"percentages": [50]} if name == "ROAD" else {}
    other = {"x_batch": np.concatenate([X[:2], X[2:][::-1]]), "batch_size": 2}
    other["a_batch"] = np.concatenate([MAPS[:2], -MAPS[2:]])
    first = {"x_batch": X[:2], "y_batch": Y[:2], "a_batch": MAPS[:2].copy()}
    found = scores(theirs, name, call=other, **options)
    expected = scores(theirs, name, call=first, **options)
    assert found == pytest.approx(expected, rel=1e-4)


def test_colour_pictures_fail() -> None:
    net = model(channels=3)
    x = np.random.default_rng(0).random((4, 3, 8, 8)).astype(np.float32)
    call = {"model": net, "x_batch": x, "a_batch": product(net, x, Y)}
    for name, error in (("IROF", AssertionError), ("ROAD", IndexError)):
        with pytest.raises(error):
            scores(theirs, name, call=call)
        assert scores(own, name, call=call)


def test_infidelity_keeps_what_it_replaced_before() -> None:
    """Of a linear model the gradient predicts each square exactly, and cumulative ones too."""
    call = {"a_batch": MAPS / X}
    found = scores(own, "Infidelity", call=call)
    other = scores(theirs, "Infidelity", call=call, n_perturb_samples=1)
    assert found != pytest.approx(other, rel=0.1)
    expected = evaluate.square_infidelity(
        NET,
        torch.from_numpy(X),
        torch.from_numpy(MAPS / X),
        torch.from_numpy(Y),
        size=4,
        baselines=torch.from_numpy(X.min((1, 2, 3), keepdims=True)),
    )
    assert found == pytest.approx(expected.tolist(), rel=1e-4)


def test_areas_need_a_function_that_numpy_no_longer_has() -> None:
    if hasattr(np, "trapz"):
        pytest.skip("this NumPy still has trapz")
    with pytest.raises(AttributeError, match="trapz"):
        scores(theirs, "PixelFlipping", features_in_step=8, return_auc_per_sample=True)
