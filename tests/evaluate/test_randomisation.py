"""Randomisation tests, against plain autograd and ranks by counting."""

from __future__ import annotations

import statistics
from copy import deepcopy
from typing import Any

import pytest
import torch
from helpers import assert_same, autograd, noise, refused
from measured import SmallNet, ranks
from sanity import PICTURES, EdgeMethod, LevelMethod, PlainNet, plain
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.inputs import Inputs
from torchattr.errors import (
    FewSamplesWarning,
    InputError,
    InputTypeError,
    LayerError,
    NoRuleMatched,
    UndefinedMetricWarning,
)
from torchattr.evaluate import SampleNoise, mprt, smooth_mprt
from torchattr.evaluate.randomised_model import RandomisedModel

NAMES = ("head", "inner", "body")


def spearman(a: Tensor, b: Tensor) -> float:
    return statistics.correlation(ranks(a.flatten().tolist()), ranks(b.flatten().tolist()))


def random_copies(model: nn.Module, groups: list[list[str]], cascading: bool) -> list[nn.Module]:
    """Return a copy of the model for each step, built from single draws of each layer."""
    random = RandomisedModel(model, PICTURES)
    drawn = {}
    for layer in random.layers:
        layer.randomise(0)
        drawn[layer.name] = deepcopy(layer.copy.state_dict())
    copies, changed = [], deepcopy(model)
    for group in groups:
        changed = changed if cascading else deepcopy(model)
        for name in group:
            changed.get_submodule(name).load_state_dict(drawn[name])
        copies.append(deepcopy(changed))
    return copies


def signed(model: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient of the class's score, summed over channels."""
    grad = autograd(model, x, lambda output: output.gather(1, classes[:, None]).squeeze(1))
    return grad.sum(1)


GRADIENT = {"saliency": {"abs": False}}


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ({}, [["head"], ["inner"], ["body"]]),
        ({"order": "bottom_up"}, [["body"], ["inner"], ["head"]]),
        ({"cascading": False}, [["head"], ["inner"], ["body"]]),
        ({"steps": 2}, [["head", "inner"], ["body"]]),
        ({"layers": ["body", "inner"]}, [["inner"], ["body"]]),
    ],
)
def test_it_compares_the_maps_of_randomised_copies(options: Any, groups: list[list[str]]) -> None:
    model = plain()
    classes = model(PICTURES).argmax(1)
    copies = random_copies(model, groups, options.get("cascading", True))
    clean = signed(model, PICTURES, classes)
    right = [
        [spearman(a, b) for a, b in zip(clean, signed(copy, PICTURES, classes), strict=True)]
        for copy in copies
    ]
    found = mprt(model, PICTURES, GRADIENT, **options)
    assert_same(found["saliency"], torch.tensor(right, dtype=torch.float64).T, 1e-10)
    assert found.layers == tuple(group[-1] for group in groups)
    sizes = [len(group) for group in groups]
    totals = tuple(sum(sizes[: k + 1]) for k in range(len(sizes)))
    assert found.counts == (totals if options.get("cascading", True) else tuple(sizes))


def test_smooth_maps_are_means_over_the_same_noise_for_every_model() -> None:
    model = plain()
    classes = model(PICTURES).argmax(1)
    (unit,) = SampleNoise(Inputs((PICTURES,), False), 0).normal(0, 3)
    noises = unit.unflatten(0, (3, len(PICTURES)))
    ranges = [float(x.max() - x.min()) for x in PICTURES]
    spread = 0.2 * torch.tensor(ranges, dtype=PICTURES.dtype).view(-1, 1, 1, 1)

    def smooth(one: nn.Module) -> Tensor:
        maps = [signed(one, PICTURES + spread * drawn, classes) for drawn in noises]
        return sum(maps[1:], start=maps[0]) / 3

    copies = random_copies(model, [["body"], ["inner"], ["head"]], True)
    clean = smooth(model)
    right = [[spearman(a, b) for a, b in zip(clean, smooth(copy), strict=True)] for copy in copies]
    found = smooth_mprt(model, PICTURES, GRADIENT, n_samples=3, noise=0.2)
    assert_same(found["saliency"], torch.tensor(right, dtype=torch.float64).T, 1e-10)
    assert found.order == "bottom_up"


def forwards(methods: Any) -> int:
    """Return the number of forwards of the model and of its copies."""
    batches: list[int] = []
    own = PlainNet.forward

    def forward(self: PlainNet, x: Tensor) -> Tensor:
        batches.append(len(x))
        return own(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainNet, "forward", forward)
        mprt(plain(), PICTURES, methods, target=1, layer="inner")
    return len(batches)


def test_methods_share_the_forward_of_each_model() -> None:
    assert forwards(["saliency", "input_x_gradient", "grad_cam"]) == forwards("saliency")


def test_the_users_model_is_never_touched() -> None:
    model = plain()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    model.requires_grad_(False)
    mprt(model, PICTURES, ["saliency", "grad_cam"], layer="inner")
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert not any(one.requires_grad for one in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_objects_and_their_layers_follow_the_copy() -> None:
    model = plain()
    named = mprt(model, PICTURES, ["grad_cam"], layer="inner")
    by_object = mprt(model, PICTURES, ta.GradCAM(model, layer=model.inner))
    by_layer = mprt(model, PICTURES, ["grad_cam"], layer=model.inner)
    assert_same(by_object["grad_cam"], named["grad_cam"])
    assert_same(by_layer["grad_cam"], named["grad_cam"])


def test_a_map_of_the_picture_stays_and_one_of_the_parameters_does_not() -> None:
    found = mprt(plain(), PICTURES, [EdgeMethod, "saliency"])
    assert_same(found["EdgeMethod"], torch.ones(4, 3, dtype=torch.float64), 1e-12)
    assert (found["saliency"][:, -1].abs() < 0.5).all()


def test_constant_maps_are_nan_with_one_warning() -> None:
    methods = [LevelMethod, "saliency"]
    with pytest.warns(UndefinedMetricWarning, match="LevelMethod is undefined") as caught:
        found = mprt(plain(), PICTURES, methods)
    assert len(caught) == 1
    assert found["LevelMethod"].isnan().all()
    assert found["saliency"].isfinite().all()


def test_a_copy_that_explains_nothing_is_nan() -> None:
    class Dying(PlainNet):
        """Its score is flat once the sum of a layer's weights has changed."""

        def forward(self, x: Tensor) -> Tensor:
            found = super().forward(x)
            flat = abs(float(self.inner.weight.detach().sum()) - 1.0) > 1e-6
            return found * 0 if flat else found

    model = Dying().double().eval()
    model.inner.weight.data += (1 - model.inner.weight.sum()) / model.inner.weight.numel()
    with pytest.warns(UndefinedMetricWarning, match="saliency"):
        found = mprt(model, PICTURES, "saliency", target=1)
    assert found["saliency"].isnan().tolist() == [[False, True, True]] * 4


def test_methods_that_do_not_fit_are_left_out_with_the_reason() -> None:
    methods = ["saliency", "guided_backprop", "attention_rollout"]
    found = mprt(plain(), PICTURES, methods, skip_refused=True)
    assert list(found) == ["saliency"]
    assert set(found.refused) == {"guided_backprop", "attention_rollout"}
    assert "rewrote nothing" in str(found.refused["guided_backprop"])
    with pytest.raises(NoRuleMatched):
        mprt(plain(), PICTURES, ["guided_backprop"])
    with refused(InputError, "no method fits", "guided_backprop"):
        mprt(plain(), PICTURES, ["guided_backprop"], skip_refused=True)


def test_further_arguments_reach_the_model_and_noise_repeats_them() -> None:
    class Scaled(PlainNet):
        def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
            assert scale is None or len(scale) == len(x)
            return super().forward(x if scale is None else x * scale)

    model = Scaled().double().eval()
    scale = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64).view(4, 1, 1, 1)
    found = mprt(model, PICTURES, "saliency", 1, additional_forward_args=scale)
    alone = mprt(model, PICTURES[2:3], "saliency", 1, additional_forward_args=scale[2:3])
    assert_same(found["saliency"][2:3], alone["saliency"], 1e-12)
    smooth = smooth_mprt(model, PICTURES, "saliency", 1, n_samples=2, additional_forward_args=scale)
    assert smooth["saliency"].shape == (4, 3)


def test_a_result_averages_draws_and_describes_itself() -> None:
    found = mprt(plain(), noise(12, 2, 8, 8), ["saliency", "input_x_gradient"])
    assert_same(found.interval("saliency").value, found["saliency"].mean(0), 1e-12)
    assert len(found) == 2
    assert repr(found).startswith("Randomisation(cascading, top_down, 3 steps; at the end")
    axes = found.plot(methods=["saliency"])
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels == ["0: trained", "1: head", "2: inner", "3: body"]
    assert axes.lines[0].get_ydata()[0] == 1.0
    assert "<img" in found._repr_html_()
    with pytest.raises(KeyError, match="saliency, input_x_gradient"):
        found["grad_cam"]


def test_few_pictures_are_said() -> None:
    found = mprt(plain(), PICTURES, "saliency")
    with pytest.warns(FewSamplesWarning, match="4 samples"):
        found.interval("saliency")


def test_wrong_arguments_are_refused() -> None:
    model = plain()
    for name, value in (("order", "sideways"), ("steps", 0), ("similarity", "hog")):
        with refused(InputError, name, str(value)):
            mprt(model, PICTURES, "saliency", **{name: value})
    with refused(InputError, "noise", "0"):
        smooth_mprt(model, PICTURES, "saliency", noise=0)
    with refused(InputError, "n_samples", "0"):
        smooth_mprt(model, PICTURES, "saliency", n_samples=0)
    with refused(InputError, "one value for each picture", "TopK"):
        mprt(model, PICTURES, "saliency", ta.TopK(2))
    with refused(InputTypeError, "one tensor"):
        mprt(model, (PICTURES, PICTURES), "saliency")  # type: ignore[arg-type]
    with refused(InputError, "no examples"):
        mprt(model, PICTURES[:0], "saliency")
    with refused(LayerError, "nowhere"):
        mprt(model, PICTURES, "saliency", layers="nowhere")
    with refused(InputTypeError, "nn.Module"):
        mprt(lambda x: x.mean((2, 3)), PICTURES, "saliency")


def test_single_precision_is_compared_in_double() -> None:
    model = SmallNet().eval()
    found = mprt(model, noise(2, 2, 6, 8, dtype=torch.float32), ["saliency"], similarity="ssim")
    assert found["saliency"].dtype == torch.float64


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_caller_may_have_disabled_gradients(mode: Any) -> None:
    right = mprt(plain(), PICTURES, "saliency")["saliency"]
    model = plain()
    with mode():
        assert_same(mprt(model, PICTURES, "saliency")["saliency"], right)
