"""Options of methods by name, from text, and the methods made with them."""

from __future__ import annotations

import pytest
import torch

import torchattr as ta
from torchattr.core.squares import squares
from torchattr.errors import InputError, InputTypeError, RegistryError
from torchattr.methods import registered_methods
from torchattr.models import load_model
from torchattr.runs.method_form import MethodForm, input_bounds, options_by_method

NAMES = ["saliency", "rise", "integrated_gradients", "lime"]


def test_an_option_without_a_method_is_that_of_all_that_have_it() -> None:
    options = options_by_method(["seed=3", "lime.seed=4", "n_steps=20"], NAMES)
    assert options == {
        "saliency": {},
        "rise": {"seed": 3},
        "integrated_gradients": {"n_steps": 20},
        "lime": {"seed": 4},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("saliency.abs=false", False),
        ("saliency.abs= On ", True),
        ("rise.probability=.25", 0.25),
        ("rise.n_masks=40", 40),
        ("rise.normalisation=coverage", "coverage"),
        ("rise.baselines=none", None),
        ("rise.activation=none", None),
        ("lime.feature_mask=7", 7),
        ("saliency.rules=gelu=guided, silu=guided", {"gelu": "guided", "silu": "guided"}),
    ],
)
def test_texts_become_values(text: str, value: object) -> None:
    method, _, name = text.partition("=")[0].partition(".")
    assert options_by_method([text], NAMES)[method] == {name: value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_masks", "NAME=VALUE"),
        ("=3", "NAME=VALUE"),
        ("masks=3", "no option 'masks' .*did you mean 'n_masks'"),
        ("rise.n_steps=3", "no option 'n_steps' of rise"),
        ("lrp.gamma=3", "lrp, which is not among the methods"),
        ("n_masks=many", "n_masks must be a number, got 'many'"),
        ("n_masks=2.5", "n_masks must be an integer"),
        ("abs=perhaps", "abs must be true or false"),
        ("normalisation=none", "normalisation must be one of"),
    ],
)
def test_a_wrong_option_is_named(text: str, message: str) -> None:
    with pytest.raises((InputError, InputTypeError), match=message):
        options_by_method([text], NAMES)


def test_what_is_wrong_for_many_methods_is_a_short_sentence() -> None:
    names = list(registered_methods())
    said = f"no option 'zzz' of any of {len(names)} methods.*such as .* help\\(\\)"
    with pytest.raises(InputError, match=said) as caught:
        options_by_method(["zzz=3"], names)
    assert len(str(caught.value)) < 200
    with pytest.raises(RegistryError, match="no method is called 'zzz'"):
        options_by_method(["zzz.n_masks=3"], NAMES)


def test_only_close_names_are_suggested_and_the_methods_that_have_the_option() -> None:
    with pytest.raises(InputError) as caught:
        options_by_method(["n_steps=3"], ["saliency", "grad_cam"])
    said = str(caught.value)
    assert "no option 'n_steps' of saliency, grad_cam, got 'n_steps=3'" in said
    assert "eigen_smooth" not in said
    assert "; integrated_gradients and is_cam have it" in said
    with pytest.raises(InputError, match="; rise has it"):
        options_by_method(["probability=0.5"], ["saliency"])
    with pytest.raises(InputError, match=r"; \w+, \w+ and \d+ more have it"):
        options_by_method(["eigen_smooth=true"], ["saliency"])


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(RegistryError, match="salency"):
        MethodForm.of("salency")


@pytest.mark.parametrize("name", registered_methods())
def test_each_default_can_be_read_from_its_text(name: str) -> None:
    for field in MethodForm.of(name).fields:
        if field.kind in ("rules", "layer") or field.default is None:
            continue
        assert field.parse(field.shown_default) == field.default, field


def test_options_of_the_constructor_and_of_the_call_are_told_apart() -> None:
    form = MethodForm.of("lrp")
    made, called = form.read({"composite": "zero", "epsilon": 1e-3})
    assert made == {"composite": "zero", "epsilon": 1e-3}
    assert called == {}


def test_a_method_is_made_with_its_options() -> None:
    demo = load_model("demo")
    cam = MethodForm.of("grad_cam").build(demo, {}, layer="stage2", output=None)
    assert isinstance(cam, ta.GradCAM)
    chosen = MethodForm.of("grad_cam").build(demo, {"layer": "stage1.1.relu"}, layer="stage2")
    assert repr(chosen) != repr(cam)
    assert repr(chosen) == repr(ta.GradCAM(demo.model, "stage1.1.relu"))


def test_bounds_are_those_of_the_models_pictures_unless_given() -> None:
    demo = load_model("demo")
    form = MethodForm.of("lrp")
    boxed = form.build(demo, {"composite": "epsilon_gamma_box"})
    bounds = input_bounds(demo)
    assert repr(boxed) == repr(ta.LRP(demo.model, "epsilon_gamma_box", **bounds))
    given = form.build(demo, {"composite": "epsilon_gamma_box", "low": -1.0, "high": 1.0})
    assert repr(given) == repr(ta.LRP(demo.model, "epsilon_gamma_box", low=-1.0, high=1.0))


def test_pictures_are_ablated_by_squares() -> None:
    inputs = torch.zeros(2, 3, 32, 48)
    form = MethodForm.of("feature_ablation")
    mask = form.call_options({}, inputs, "softmax")["feature_mask"]
    assert torch.equal(mask, squares(inputs, 14))
    few = form.call_options({"feature_mask": 4}, inputs, "softmax")["feature_mask"]
    assert few.unique().numel() == 16
    assert form.call_options({}, inputs, "softmax").keys() == {"feature_mask"}


def test_a_window_is_square_and_has_all_channels() -> None:
    form, inputs = MethodForm.of("occlusion"), torch.zeros(1, 3, 32, 32)
    made = form.call_options({"sliding_window_shapes": 8, "strides": 4}, inputs, "none")
    assert made == {"sliding_window_shapes": (3, 8, 8), "strides": 4}
    assert form.call_options({}, inputs, "none") == {}


def test_the_activation_is_the_models_unless_given() -> None:
    form, inputs = MethodForm.of("rise"), torch.zeros(1, 3, 8, 8)
    assert form.call_options({}, inputs, "sigmoid") == {"activation": "sigmoid"}
    assert form.call_options({"activation": "none"}, inputs, "sigmoid") == {"activation": "none"}
