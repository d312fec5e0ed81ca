"""Sanity checks of methods whose sanity is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from sanity import EdgeMethod, LevelMethod, NoiseMethod, PlainNet, plain
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import (
    FewSamplesWarning,
    InputError,
    InputTypeError,
    LayerChoiceWarning,
    UndefinedMetricWarning,
)
from torchattr.evaluate import Check, blocks, check, deletion_curve, random_logit

PICTURES = noise(12, 2, 8, 8)
QUICK: dict[str, Any] = {"squares_across": 4, "n_samples": 2, "activation": "none"}


@pytest.fixture(scope="module")
def checked() -> Check:
    with pytest.MonkeyPatch.context():
        torch.manual_seed(0)
        methods = [EdgeMethod, NoiseMethod, "saliency", "input_x_gradient"]
        return check(plain(), PICTURES, methods, **QUICK)


def verdicts(found: Check, method: str) -> dict[str, str]:
    return {key: one.verdict for key, one in found[method].items()}


def test_an_edge_detector_is_found_out(checked: Check) -> None:
    said = verdicts(checked, "EdgeMethod")
    assert said.pop("beats_random") in ("fail", "unclear")
    assert said.pop("beats_centre") in ("fail", "unclear")
    assert said == {
        "other_class": "fail",
        "random_layers": "fail",
        "edges": "fail",
        "noise": "pass",
        # It is the edge map itself.
        "beats_edges": "unclear",
    }
    assert "all 3 layers" in checked["EdgeMethod"]["random_layers"].sentence


def test_noise_changes_with_everything(checked: Check) -> None:
    said = verdicts(checked, "NoiseMethod")
    assert [said[key] for key in ("other_class", "random_layers", "edges")] == ["pass"] * 3
    assert said["noise"] == "fail"


def test_noise_beats_noise_no_more_often_than_intervals_allow() -> None:
    said = []
    for seed in range(12):
        torch.manual_seed(seed)
        found = check(plain(), PICTURES, NoiseMethod, seed=100 + seed, steps=1, **QUICK)
        said.append(found["NoiseMethod"]["beats_random"].verdict)
    assert said.count("unclear") >= 11


def test_contributions_pass(checked: Check) -> None:
    said = verdicts(checked, "input_x_gradient")
    assert [said[key] for key in ("random_layers", "edges", "noise")] == ["pass"] * 3
    # Of a nearly linear network, they are what the score consists of.
    assert [said[key] for key in ("beats_random", "beats_edges", "beats_centre")] == ["pass"] * 3


def test_what_is_measured_is_what_single_metrics_measure(checked: Check) -> None:
    model = plain()
    logit = random_logit(model, PICTURES, "input_x_gradient", similarity="spearman")
    measured = checked.measures["other_class"]["input_x_gradient"]
    assert_same(measured, logit["input_x_gradient"], 1e-12)
    maps = ta.InputXGradient(model).attribute(PICTURES).sum(1, keepdim=True)
    options = {
        "feature_mask": blocks(torch.zeros(1, 1, 8, 8), 2),
        "steps": 4,
        "activation": "none",
    }
    own = deletion_curve(model, PICTURES, maps, **options).auc
    edges = deletion_curve(model, PICTURES, EdgeMethod(model).attribute(PICTURES), **options).auc
    assert_same(checked.measures["beats_edges"]["input_x_gradient"], edges - own, 1e-6)


def test_the_result_is_a_table_sentences_plain_values_and_figures(checked: Check) -> None:
    assert checked.methods == ("EdgeMethod", "NoiseMethod", "saliency", "input_x_gradient")
    assert [len(row) for row in checked.rows] == [len(checked.columns)] * 4
    text = str(checked)
    assert text.splitlines()[0].startswith("method ")
    assert all(sentence in text for sentence in checked.sentences("saliency"))
    plainly = json.loads(json.dumps(checked.as_dict(), allow_nan=False))
    assert plainly["pictures"] == 12
    assert len(plainly["findings"]) == 28
    assert len(plainly["curves"]["saliency"]["value"]) == len(plainly["layers"]) == 3
    figure = checked.plot("EdgeMethod")
    curve, alike, _ = figure.axes
    assert curve.get_ylabel().endswith("below the line is good")
    sides = [one.get_text() for one in alike.get_yticklabels()]
    assert sides == [
        *("other class\n(left is good)", "edges\n(left is good)", "noise\n(right is good)")
    ]
    assert "failed: other class, random layers, edges" in figure.get_suptitle()
    assert "<img" in checked._repr_html_()
    assert repr(checked).startswith("Check(12 pictures; passed: EdgeMethod ")
    with pytest.raises(KeyError, match="EdgeMethod"):
        checked["grad_cam"]


def test_the_model_stays_as_it_was_and_seeds_decide() -> None:
    model = plain()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    one, same, other = (
        check(model, PICTURES, "saliency", seed=seed, **QUICK) for seed in (1, 1, 2)
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert one.as_dict() == same.as_dict()
    assert one.as_dict() != other.as_dict()


def test_a_single_picture_has_no_interval() -> None:
    with pytest.warns(FewSamplesWarning, match="at least two") as caught:
        found = check(plain(), PICTURES[:1], "saliency", **QUICK)
    assert len(caught) == 1
    assert set(verdicts(found, "saliency").values()) == {"unclear"}
    assert "a single picture has no interval" in str(found)
    json.dumps(found.as_dict(), allow_nan=False)


def test_few_pictures_are_said_once() -> None:
    with pytest.warns(FewSamplesWarning, match="3 samples is too narrow") as caught:
        check(plain(), PICTURES[:3], "saliency", **QUICK)
    assert len(caught) == 1


def test_methods_that_do_not_fit_are_named_and_left_out() -> None:
    methods = ["saliency", "guided_backprop", "attention_rollout", "grad_cam"]
    with pytest.warns(LayerChoiceWarning):
        found = check(plain(), PICTURES, methods, **QUICK)
    assert found.methods == ("saliency", "grad_cam")
    assert "guided_backprop was left out: " in str(found)
    assert set(found.as_dict()["refused"]) == {"guided_backprop", "attention_rollout"}
    with refused(InputError, "no method fits", "attention_rollout"):
        check(plain(), PICTURES, ["attention_rollout"], **QUICK)


def test_constant_maps_cannot_be_measured() -> None:
    with pytest.warns(UndefinedMetricWarning):
        found = check(plain(), PICTURES, LevelMethod, **QUICK)
    assert set(verdicts(found, "LevelMethod").values()) == {"undefined"}
    assert found.rows[0][1:] == ["–"] * 7 + ["undecided"]
    found.plot("LevelMethod")


def test_a_model_of_one_class_has_no_other_class() -> None:
    model = nn.Sequential(plain(), nn.Linear(3, 1).double())
    found = check(model, PICTURES, "saliency", **QUICK)
    assert found["saliency"]["other_class"].verdict == "undefined"
    assert found["saliency"]["noise"].verdict == "pass"


def test_a_target_that_is_a_function_can_be_checked() -> None:
    found = check(plain(), PICTURES, "saliency", ta.Difference(1, 0), **QUICK)
    assert found["saliency"]["other_class"].verdict == "undefined"
    assert found["saliency"]["edges"].verdict == "pass"


def test_maps_of_colours_are_read_by_magnitude() -> None:
    class Rectified(PlainNet):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.inner(self.body(x).relu()).relu().flatten(1))

    model = seeded(Rectified).double()
    found = check(model, PICTURES, "guided_backprop", **QUICK)
    guided = ta.GuidedBackprop(model).attribute(PICTURES).abs().sum(1, keepdim=True)
    options = {"feature_mask": blocks(torch.zeros(1, 1, 8, 8), 2), "steps": 4}
    own = deletion_curve(model, PICTURES, guided, activation="none", **options).auc
    edges = deletion_curve(
        model, PICTURES, EdgeMethod(model).attribute(PICTURES), activation="none", **options
    ).auc
    assert_same(found.measures["beats_edges"]["guided_backprop"], edges - own, 1e-6)


def test_wrong_arguments_are_refused() -> None:
    model = plain()
    for name, value in (("noise", -1.0), ("n_samples", 0), ("steps", 0), ("squares_across", 1)):
        with refused(InputError, name, str(value)):
            check(model, PICTURES, "saliency", **{**QUICK, name: value})
    with refused(InputTypeError, "nn.Module"):
        check(lambda x: x.mean((2, 3)), PICTURES, "saliency", **QUICK)
