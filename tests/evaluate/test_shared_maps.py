"""What is asked of a model and its copies: the target, the layer and the noise stay the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ground_truth.labelled import network
from helpers import assert_same, refused
from sanity import PICTURES, EdgeMethod, plain
from torch import Tensor

import torchattr as ta
from torchattr import evaluate
from torchattr.errors import InputError, LayerChoiceWarning, UndefinedMetricWarning
from torchattr.evaluate import shared_maps
from torchattr.evaluate.shared_maps import Noise, asked, undefined_for


def test_the_predicted_classes_are_those_of_the_model() -> None:
    model = plain()
    question = asked(model, PICTURES, ["saliency"], None)
    assert torch.equal(question.target, model(PICTURES).argmax(1))
    other = plain()
    other.head.weight.data.mul_(-1)
    found = question.maps(other)["saliency"]
    own = ta.Saliency(other).attribute(PICTURES, model(PICTURES).argmax(1)).sum(1)
    assert_same(found, own, 1e-12)


def test_the_default_layer_is_chosen_once() -> None:
    model = plain()
    with pytest.warns(LayerChoiceWarning, match="'inner'"):
        question = asked(model, PICTURES, ["grad_cam", "hires_cam"], 1)
    assert question.layer == "inner"
    # No further warning, which would be an error here.
    assert set(question.maps(model)) == {"grad_cam", "hires_cam"}


def test_maps_are_read_signed_by_magnitude_or_by_what_the_sign_means() -> None:
    model = plain()
    methods = ["saliency", "input_x_gradient"]

    def maps(reading: Any, methods: Any) -> dict[str, Tensor]:
        return asked(model, PICTURES, methods, 1, reading=reading).maps(model)

    product = ta.InputXGradient(model).attribute(PICTURES, 1)
    assert_same(maps("signed", methods)["input_x_gradient"], product.sum(1), 1e-12)
    assert_same(maps("evidence", methods)["input_x_gradient"], product.sum(1), 1e-12)
    assert_same(maps("magnitude", methods)["input_x_gradient"], product.abs().sum(1), 1e-12)
    relu = torch.nn.Sequential(model, torch.nn.ReLU())
    question = asked(relu, PICTURES, ["guided_backprop"], 1, reading="evidence")
    guided = ta.GuidedBackprop(relu).attribute(PICTURES, 1)
    assert_same(question.maps(relu)["guided_backprop"], guided.abs().sum(1), 1e-12)


def test_noise_is_a_share_of_the_range_of_each_picture() -> None:
    model = plain()
    pictures = PICTURES * torch.tensor([1.0, 10.0, 1.0, 1.0]).view(4, 1, 1, 1)
    seen: list[Tensor] = []

    class Seeing(EdgeMethod):
        def attribute(self, inputs: Tensor, *args: Any, **options: Any) -> Tensor:
            seen.append(inputs)
            return super().attribute(inputs, *args, **options)

    question = asked(model, pictures, [Seeing], 1)
    assert len(list(question.noisy_maps(model, Noise(500, 0.1, 3)))) == 500
    noise = torch.cat(seen).unflatten(0, (500, 4)) - pictures
    ranges = pictures.flatten(1).amax(1) - pictures.flatten(1).amin(1)
    assert_same(noise.std((0, 2, 3, 4)), 0.1 * ranges, 0.02)


def test_a_method_without_maps_is_refused() -> None:
    class Rows(ta.Attribution):
        def attribute(
            self, inputs: Tensor, target: Any = None, additional_forward_args: Any = None
        ) -> Tensor:
            return inputs.flatten(1).sum(1)

    with refused(InputError, "Rows returns no maps"):
        asked(plain(), PICTURES, Rows, 1).maps(plain())


def test_all_that_is_undefined_is_one_warning() -> None:
    values = {
        "one": torch.tensor([0.5, torch.nan, 0.5]),
        "two": torch.tensor([0.5, 0.5, 0.5]),
        "three": torch.tensor([0.5, 0.5, torch.nan]),
    }
    with pytest.warns(UndefinedMetricWarning, match="of one, three .* 2 of 3 maps: 1, 2") as caught:
        undefined_for(values, "the similarity")
    assert len(caught) == 1
    undefined_for({"two": values["two"]}, "the similarity")


METHODS = ["saliency", "layer_cam", "input_x_gradient"]
LAYER = "2"


def pictures(count: int = 7) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(3)).double()


MEASURES = {
    "mprt": lambda model, x: evaluate.mprt(model, x, METHODS, layer=LAYER).similarities,
    "mprt, independent": lambda model, x: (
        evaluate.mprt(
            model, x, METHODS, [0, 1, 2, 3, 0, 1, 2], layer=LAYER, cascading=False
        ).similarities
    ),
    "smooth_mprt": lambda model, x: (
        evaluate.smooth_mprt(model, x, "saliency", n_samples=3).similarities
    ),
    "efficient_mprt": lambda model, x: evaluate.efficient_mprt(model, x, METHODS, layer=LAYER),
    "random_logit": lambda model, x: evaluate.random_logit(model, x, METHODS, layer=LAYER),
    "check": lambda model, x: {
        f"{key} of {name}": values
        for key, of in evaluate.check(
            model, x, METHODS, steps=2, n_samples=2, layer=LAYER, squares_across=4
        ).measures.items()
        for name, values in of.items()
    },
}


@pytest.mark.filterwarnings("ignore::torchattr.errors.FewSamplesWarning")
@pytest.mark.parametrize("measure", MEASURES)
def test_a_batch_larger_than_memory_is_measured_part_by_part(measure, monkeypatch) -> None:
    model, x = network().double(), pictures()
    seen: list[int] = []
    model.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    whole = MEASURES[measure](model, x)
    monkeypatch.setattr(shared_maps, "fitting", lambda *_: 2)
    assert max(seen) >= len(x)
    seen.clear()
    parts = MEASURES[measure](model, x)
    # Noisy copies, and those with deleted squares, are batches of their own.
    assert "mprt" not in measure or max(seen) <= 2 * 3
    assert list(parts) == list(whole)
    for name, expected in whole.items():
        assert len(expected) == len(x)
        assert_same(parts[name], expected, 1e-9)


def test_a_target_that_is_a_function_is_measured_at_once(monkeypatch) -> None:
    model, x = network().double(), pictures(3)
    monkeypatch.setattr(shared_maps, "fitting", lambda *_: 1)
    found = evaluate.mprt(model, x, "saliency", lambda output: output[[0, 1, 2], [2, 1, 0]])
    assert_same(found["saliency"], evaluate.mprt(model, x, "saliency", [2, 1, 0])["saliency"], 1e-9)


def test_what_fits_follows_from_memory(monkeypatch) -> None:
    asked = shared_maps.asked(network(), pictures().float(), METHODS, None, layer=LAYER)
    assert asked.at_once is not None
    assert asked.at_once >= len(asked.inputs)
    monkeypatch.setattr("torchattr.methods._perturbation.memory_budget.free_bytes", lambda _: 2**19)
    few = shared_maps.asked(network(), pictures().float(), METHODS, None, layer=LAYER)
    assert few.at_once is not None
    assert 1 <= few.at_once < asked.at_once
    assert few.target.tolist() == asked.target.tolist()
    torch.testing.assert_close(few.scores, asked.scores)


def test_methods_that_hold_layers_refer_to_the_copy_in_each_part(monkeypatch) -> None:
    model, x = network().double(), pictures()
    method = ta.GradCAM(model, layer="2")
    whole = evaluate.mprt(model, x, [method])
    monkeypatch.setattr(shared_maps, "fitting", lambda *_: 3)
    parts = evaluate.mprt(model, x, [method])
    (name,) = whole
    assert_same(parts[name], whole[name], 1e-9)
