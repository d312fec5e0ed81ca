"""Which methods are compared, and with which options."""

from __future__ import annotations

import pytest
import torch
from ground_truth.labelled import SIDE, labelled
from torch import nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, RegistryError
from torchattr.evaluate.ground_truth.asked_methods import CELLS, SAMPLES, asked_methods
from torchattr.methods import registered_methods


def test_none_is_every_registered_method() -> None:
    assert [one.name for one in asked_methods(None)] == sorted(registered_methods())


def test_names_classes_and_functions() -> None:
    assert [one.name for one in asked_methods("saliency")] == ["saliency"]
    both = asked_methods([ta.Saliency, "grad_cam"])
    assert [one.name for one in both] == ["saliency", "grad_cam"]
    model = labelled().model
    assert isinstance(both[1].make(model), ta.GradCAM)
    (smooth,) = asked_methods({"smooth": lambda net: ta.NoiseTunnel(ta.Saliency(net))})
    assert smooth.name == "smooth"
    assert isinstance(smooth.make(model), ta.NoiseTunnel)


def test_the_bounds_are_options_of_the_methods() -> None:
    pictures = labelled().asked
    for name in sorted({*SAMPLES, *CELLS}):
        (method,) = asked_methods(name)
        options = method.options(pictures)
        if name in CELLS:
            mask = options["feature_mask"]
            assert mask.shape == (1, 1, SIDE, SIDE)
            assert mask.unique().numel() == CELLS[name] ** 2
            assert f"{CELLS[name]} x {CELLS[name]} cells" in method.settings
        for option, value in SAMPLES.get(name, {}).items():
            assert options[option] == value
            assert f"{option}={value}" in method.settings
    assert asked_methods("saliency")[0].settings == ""
    assert asked_methods("rise")[0].options(pictures)["activation"] == "softmax"


def test_a_function_that_makes_no_method_says_so() -> None:
    (wrong,) = asked_methods({"wrong": lambda net: net})
    with pytest.raises(InputTypeError, match="for 'wrong' that must return a method, but it"):
        wrong.make(labelled().model)


@pytest.mark.parametrize(
    ("methods", "error", "said"),
    [
        ([], InputError, "methods is empty"),
        (["saliency", ta.Saliency], InputError, "methods has saliency 2 times"),
        ("salience", RegistryError, "did you mean 'saliency'"),
        ([ta.Saliency(nn.Identity())], InputTypeError, "names or classes"),
        (ta.Saliency(nn.Identity()), InputTypeError, "names or classes"),
        (3, InputTypeError, "names or classes"),
        ([3], InputTypeError, "names or classes"),
        ({"smooth": ta.Saliency(nn.Identity())}, InputTypeError, "functions that make a method"),
        ({3: torch.nn.Identity}, InputTypeError, "functions that make a method"),
    ],
)
def test_wrong_methods_are_named(methods, error, said) -> None:
    with pytest.raises(error, match=said):
        asked_methods(methods)


def test_options_of_methods_come_before_what_bounds_their_cost() -> None:
    pictures = labelled().asked
    options = {
        "rise": {"n_masks": 20, "activation": "sigmoid"},
        "feature_ablation": {"feature_mask": 4},
        "occlusion": {"sliding_window_shapes": 2},
        "lrp": {"composite": "zero"},
    }
    rise, ablation, occlusion, lrp = asked_methods(list(options), options)
    assert rise.options(pictures) == {"n_masks": 20, "activation": "sigmoid"}
    assert rise.options(pictures, briefly=True)["n_masks"] == 8
    assert rise.settings == "n_masks=20, activation=sigmoid"
    assert ablation.options(pictures)["feature_mask"].unique().numel() == 16
    assert ablation.options(pictures, briefly=True)["feature_mask"].unique().numel() == 4
    assert ablation.settings == "4 x 4 cells"
    assert occlusion.options(pictures) == {"sliding_window_shapes": (3, 2, 2)}
    assert lrp.settings == "composite=zero"
    assert lrp.options(pictures) == {}
    (other,) = asked_methods("lrp")
    x = pictures.inputs
    made = [one.make(pictures.model).attribute(x, target=0) for one in (lrp, other)]
    assert not torch.equal(*made)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rice": {"n_masks": 3}}, "options has 'rice', .*did you mean 'rise'"),
        ({"rise": {"n_maskss": 3}}, "options has 'n_maskss' for rise, .*did you mean 'n_masks'"),
    ],
)
def test_wrong_options_are_named(options, said) -> None:
    with pytest.raises(InputError, match=said):
        asked_methods(["rise", "saliency"], options)
