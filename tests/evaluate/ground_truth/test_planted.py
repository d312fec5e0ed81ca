"""The report names the right and the wrong methods, which theory tells."""

from __future__ import annotations

import pytest

from torchattr.errors import FewSamplesWarning, InputError, RegistryError
from torchattr.evaluate import planted
from torchattr.evaluate.ground_truth.plants import PLANTS

GRADIENTS = ["saliency", "input_x_gradient", "guided_backprop", "deconvolution"]
COMPLETE = ["integrated_gradients", "deep_lift", "gradient_shap"]
MAPS = ["grad_cam", "hires_cam", "layer_cam", "grad_cam_plus_plus", "eigen_cam", "fem", "cam"]
OTHERS = ["lrp", "feature_ablation", "raw_attention", "attention_gradient", "legrad"]
CONTROLS = ["(random)", "(edges)", "(centre)"]


@pytest.fixture(scope="module")
def report():
    return planted([*GRADIENTS, *COMPLETE, *MAPS, *OTHERS], n=10)


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("method", COMPLETE)
def test_what_is_complete_along_a_path_finds_everything(report, method, plant) -> None:
    assert report.verdict(method, plant) == "found"


@pytest.mark.parametrize(
    "method", [*GRADIENTS, "lrp", "grad_cam", "hires_cam", "layer_cam", "cam", "feature_ablation"]
)
def test_where_the_score_is_flat_gradients_and_single_features_show_nothing(report, method) -> None:
    assert report.verdict(method, "saturated") == "nothing"


def test_modified_gradients_show_what_is_cancelled(report) -> None:
    """They drop what is negative, and with it the half that takes the other one back."""
    assert report.verdict("saliency", "cancelled") == "found"
    assert report.verdict("input_x_gradient", "cancelled") == "found"
    for method in ("guided_backprop", "layer_cam"):
        assert report.verdict(method, "cancelled") == "partly"
    for method in ("deconvolution", "grad_cam_plus_plus"):
        assert report.verdict(method, "cancelled") == "misses"


def test_a_channel_that_counts_in_one_place_only_is_shown_everywhere_by_grad_cam(report) -> None:
    """One weight for each channel cannot tell places apart, a weight for each element can."""
    assert report.verdict("grad_cam", "distractor") == "partly"
    assert report.verdict("hires_cam", "distractor") == "found"
    assert report.verdict("layer_cam", "distractor") == "found"


def test_maps_of_activations_show_what_is_loud(report) -> None:
    for method in ("eigen_cam", "fem"):
        assert report.verdict(method, "stamp") == "found"
        assert report.verdict(method, "distractor") == "misses"
        assert report.verdict(method, "cancelled") == "misses"


def test_attention_is_no_explanation_where_it_brings_nothing(report) -> None:
    for method in ("raw_attention", "attention_gradient", "legrad"):
        assert report.verdict(method, "token") == "found"
        assert report.verdict(method, "stamp") == "–"
    assert report.verdict("raw_attention", "bystander") == "misses"
    assert report.verdict("attention_gradient", "bystander") == "nothing"
    assert report.verdict("saliency", "bystander") == "found"


def test_only_maps_with_channels_can_tell_them(report) -> None:
    assert report.verdict("saliency", "channel") == "found"
    assert report.verdict("grad_cam", "channel") == "–"
    assert report.verdict("feature_ablation", "channel") == "–"


@pytest.mark.parametrize("plant", [name for name in PLANTS if name != "channel"])
@pytest.mark.parametrize("control", CONTROLS)
def test_what_knows_nothing_of_the_network_misses(report, control, plant) -> None:
    assert report.verdict(control, plant) == "misses"


def test_refusals_have_reasons(report) -> None:
    assert "self-attention" in report.refused["raw_attention", "stamp"]
    assert ("raw_attention", "token") not in report.refused
    assert "global average pool" in report.refused["cam", "stamp"]


def test_a_seed_gives_the_same_report() -> None:
    first, again = (planted("saliency", "colour", n=10, seed=2) for _ in range(2))
    assert first.gains.equal(again.gains)
    assert str(first) == str(again)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"plants": "tree"}, InputError, "plants must be some of stamp, .* got 'tree'"),
        ({"plants": []}, InputError, "plants is empty"),
        ({"plants": ["stamp", "stamp"]}, InputError, "plants has stamp twice"),
        ({"methods": "salience"}, RegistryError, "did you mean 'saliency'"),
        ({"n": 0}, InputError, "n must be at least 1"),
    ],
)
def test_wrong_input_is_named(options, error, said) -> None:
    with pytest.raises(error, match=said):
        planted(**{"methods": "saliency", **options})


def test_few_pictures_are_warned_of() -> None:
    with pytest.warns(FewSamplesWarning, match="too narrow"):
        str(planted("saliency", "stamp", n=3))
