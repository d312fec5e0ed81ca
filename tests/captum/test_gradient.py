"""The same numbers as Captum's: gradients, guided backpropagation, deconvnet, neurons, noise."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from captum_parity import (
    FEATURES,
    IMAGES,
    SIGNALS,
    SINGLE,
    Segmentation,
    Sequences,
    TwoInputs,
    Values,
    assert_parity,
    convolutions,
)
from helpers import assert_same, noise, seeded
from peers import asked
from torch import Tensor, nn

import torchattr.captum

GRADIENTS = ["Saliency", "InputXGradient", "Deconvolution", "GuidedBackprop"]
OF_FUNCTIONS = ["Saliency", "InputXGradient", "IntegratedGradients"]

TARGETS = {
    "int": 2,
    "tuple": (2,),
    "scalar tensor": torch.tensor(2),
    "tensor of one": torch.tensor([2]),
    "tensor": torch.tensor([2, 1, 4]),
    "list": [2, 1, 4],
    "list of tuples": [(2,), (1,), (4,)],
}
PLACES = {"tuple": (1, 2, 3), "list of tuples": [(1, 2, 3), (0, 11, 7), (3, 0, 0)]}
# Two steps have weights that float32 holds exactly, so that Captum does not round them.
EXACT_STEPS = {"IntegratedGradients": {"n_steps": 2}}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return convolutions()


@pytest.mark.parametrize("form", TARGETS)
@pytest.mark.parametrize("name", [*GRADIENTS, "IntegratedGradients"])
def test_every_form_of_target(name: str, form: str, model: nn.Module) -> None:
    assert_parity(name, model, IMAGES, target=TARGETS[form], **EXACT_STEPS.get(name, {}))


@pytest.mark.parametrize("form", PLACES)
@pytest.mark.parametrize("name", GRADIENTS)
def test_every_form_of_target_of_a_dense_output(name: str, form: str) -> None:
    assert_parity(name, seeded(Segmentation).double(), IMAGES, target=PLACES[form])


@pytest.mark.parametrize(("column", "target"), [(False, None), (True, None), (True, 0)])
@pytest.mark.parametrize("name", GRADIENTS)
def test_one_value_for_each_example(name: str, column: bool, target: Any) -> None:
    assert_parity(name, seeded(Values, column=column).double(), FEATURES, target=target)


@pytest.mark.parametrize("name", GRADIENTS)
def test_signals(name: str) -> None:
    assert_parity(name, seeded(Sequences).double(), SIGNALS, target=[3, 0, 1])


@pytest.mark.parametrize("name", ["Saliency", "GuidedBackprop"])
def test_an_input_in_a_tuple_of_one(name: str, model: nn.Module) -> None:
    assert_parity(name, model, (IMAGES,), target=2)


ARGUMENTS: dict[str, Any] = {
    "none": None,
    "tensor": noise(3, 5),
    "tensor and flag": (noise(3, 5), False),
    "none and flag": (None, False),
}


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("name", [*GRADIENTS, "IntegratedGradients"])
def test_two_inputs_and_further_arguments(name: str, arguments: str) -> None:
    assert_parity(
        name,
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        target=[2, 1, 4],
        additional_forward_args=ARGUMENTS[arguments],
        **EXACT_STEPS.get(name, {}),
    )


def test_signed_saliency(model: nn.Module) -> None:
    assert bool((assert_parity("Saliency", model, IMAGES, target=2, abs=False) < 0).any())


@pytest.mark.parametrize("name", OF_FUNCTIONS)
def test_a_plain_function(name: str, model: nn.Module) -> None:
    def wrap(module: nn.Module) -> Callable[[Tensor], Tensor]:
        return lambda x: module(x).square().sum(1)

    assert_parity(name, model, IMAGES, wrap=wrap, **EXACT_STEPS.get(name, {}))


@pytest.mark.parametrize("baselines", [None, 0.5, noise(1, 3, 12, 8), noise(3, 3, 12, 8, seed=4)])
def test_integrated_gradients_from_a_baseline(baselines: Any, model: nn.Module) -> None:
    assert_parity("IntegratedGradients", model, IMAGES, n_steps=2, baselines=baselines, target=2)
    assert_parity(
        "IntegratedGradients", model, IMAGES, tolerance=SINGLE, baselines=baselines, target=2
    )


@pytest.mark.parametrize("method", ["riemann_left", "riemann_right", "riemann_middle"])
def test_integrated_gradients_by_riemann_sums(method: str, model: nn.Module) -> None:
    assert_parity("IntegratedGradients", model, IMAGES, target=2, n_steps=8, method=method)


def test_captums_trapezoids_lack_one_step(model: nn.Module) -> None:
    """Nine points bound eight steps; Captum divides by nine, so that its weights sum to 8/9."""
    options = {"target": 2, "n_steps": 9, "method": "riemann_trapezoid"}
    ours = torchattr.captum.IntegratedGradients(model).attribute(IMAGES, **options)
    theirs = captum.attr.IntegratedGradients(model).attribute(IMAGES.clone(), **options)
    assert_same(theirs, ours * 8 / 9, SINGLE)


@pytest.mark.parametrize("size", [3, 7, 100])
def test_integrated_gradients_in_parts(size: int, model: nn.Module) -> None:
    options = {"target": [2, 1, 4], "n_steps": 8, "method": "riemann_middle"}
    assert_parity("IntegratedGradients", model, IMAGES, internal_batch_size=size, **options)


def test_integrated_gradients_with_delta_and_without_the_inputs(model: nn.Module) -> None:
    options = {"target": 2, "n_steps": 8, "method": "riemann_middle"}
    assert_parity("IntegratedGradients", model, IMAGES, return_convergence_delta=True, **options)
    assert_parity("IntegratedGradients", model, IMAGES, multiply_by_inputs=False, **options)


def test_the_delta_can_be_computed_later(model: nn.Module) -> None:
    method = torchattr.captum.IntegratedGradients(model)
    maps, delta = method.attribute(IMAGES, 0, 2, return_convergence_delta=True)
    assert_same(method.compute_convergence_delta(maps, 0, IMAGES, target=2), delta, 1e-10)


class LinearPair(nn.Module):
    """Scores `(N, 5)` that are linear in images and features, for any further arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self.features = nn.Linear(288, 5), nn.Linear(6, 5)

    def forward(self, x: Tensor, y: Tensor, scale: Any = 1, add: bool = True) -> Tensor:
        left, right = self.images(x.flatten(1)) * scale, self.features(y)
        return left + right if add else left - right


ROWS = noise(1, 3, 12, 8, seed=4), noise(1, 6, seed=5)


@pytest.mark.parametrize("arguments", [None, (noise(3, 5), False)])
@pytest.mark.parametrize("target", [2, [2, 1, 4]])
def test_gradient_shap_of_a_linear_model_is_exact(arguments: Any, target: Any) -> None:
    """Whatever is drawn: from one baseline the path is straight, and so is the score along it."""
    options = {"baselines": ROWS, "target": target, "additional_forward_args": arguments}
    model, inputs = seeded(LinearPair).double(), (IMAGES, FEATURES)
    for samples in (1, 5):
        assert_parity("GradientShap", model, inputs, n_samples=samples, **options)
    assert_parity("GradientShap", model, inputs, multiply_by_inputs=False, **options)
    for stdevs, rows in ((0.0, ROWS), ((0.2, 0.4), (noise(7, 3, 12, 8), noise(9, 6)))):
        _, delta = torchattr.captum.GradientShap(model).attribute(
            inputs, **{**options, "baselines": rows}, stdevs=stdevs, return_convergence_delta=True
        )
        assert delta.shape == (15,)
        assert float(delta.abs().max()) < 1e-12


@pytest.mark.parametrize("function", [lambda: ROWS[0], lambda x: 2 * ROWS[0] + 0 * x[:1]])
def test_gradient_shap_with_a_function_of_baselines(function: Any) -> None:
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(288, 5))).double()
    assert_parity("GradientShap", model, IMAGES, baselines=function, target=2)


@pytest.mark.parametrize("library", [torchattr.captum, captum.attr], ids=["ours", "captum"])
def test_deltas_of_gradient_shap_have_captums_sign_and_order(library: Any) -> None:
    """Of a sum of squares a sample at α has the delta `(2α − 1) |x − b|²`."""
    points: list[Tensor] = []

    def forward(x: Tensor) -> Tensor:
        if x.requires_grad:
            points.append(x.detach())
        return x.square().sum(1)

    start = noise(1, 6, seed=5)
    maps, delta = asked(
        library.GradientShap(forward), FEATURES, start, 4, return_convergence_delta=True
    )
    # Ours runs copies of the batch, Captum all copies of an example side by side.
    samples = (
        points[0].reshape(4, 3, 6).transpose(0, 1)
        if library is torchattr.captum
        else (points[0].reshape(3, 4, 6))
    )
    alphas = ((samples - start) / (FEATURES - start)[:, None])[..., 0]
    lengths = (FEATURES - start).square().sum(1)
    assert_same(delta, ((2 * alphas - 1) * lengths[:, None]).flatten(), 1e-10)
    rise = FEATURES.square().sum(1) - start.square().sum(1)
    assert_same(delta.reshape(3, 4).mean(1), maps.sum(1).detach() - rise, 1e-10)


def test_gradient_shap_has_captums_expectation() -> None:
    """Both estimate the mean of the integrated gradients over the baselines."""
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))).double()
    rows, x = noise(5, 6, seed=5), FEATURES[:1].expand(2000, 6)
    integrated = torchattr.captum.IntegratedGradients(model)
    exact = torch.cat([integrated.attribute(x[:1], row[None], 1) for row in rows]).mean(0)
    for library in (torchattr.captum, captum.attr):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            np.random.seed(0)
            found = asked(library.GradientShap(model), x, rows, 5, target=1).detach()
        spread = found.std(0) / len(x) ** 0.5
        assert float(((found.mean(0) - exact).abs() / spread).max()) < 5


def test_gradient_shap_is_drawn_from_pytorchs_generator(model: nn.Module) -> None:
    shap, rows = torchattr.captum.GradientShap(model), noise(4, 3, 12, 8, seed=4)

    def drawn(manual: int, **options: Any) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(manual)
            return shap.attribute(IMAGES[:1].repeat(2, 1, 1, 1), rows, target=2, **options)

    first = drawn(0)
    assert_same(drawn(0, internal_batch_size=2), first, 1e-12)
    assert not torch.allclose(drawn(1), first)
    assert not torch.allclose(first[0], first[1])
    assert_same(drawn(0, seed=3), drawn(1, seed=3))


@pytest.mark.parametrize("kind", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@pytest.mark.parametrize("of", [*GRADIENTS, "FeatureAblation"])
def test_noise(of: str, kind: str, model: nn.Module) -> None:
    options = {"nt_type": kind, "nt_samples": 4, "stdevs": 0.3, "target": [2, 1, 4]}
    if of == "FeatureAblation":
        options["feature_mask"] = torch.arange(12).reshape(1, 1, 12, 1) // 3
    assert_parity("NoiseTunnel", model, IMAGES, of=of, **options)


@pytest.mark.parametrize("size", [None, 1, 3])
def test_noise_in_parts_with_two_inputs_and_further_arguments(size: int | None) -> None:
    assert_parity(
        "NoiseTunnel",
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        of="Saliency",
        nt_samples=4,
        nt_samples_batch_size=size,
        stdevs=(0.2, 0.4),
        target=2,
        additional_forward_args=(noise(3, 5), False),
        abs=False,
    )


def test_noise_with_baselines_and_delta(model: nn.Module) -> None:
    assert_parity(
        "NoiseTunnel",
        model,
        IMAGES,
        of="IntegratedGradients",
        nt_samples=3,
        stdevs=0.2,
        baselines=noise(3, 3, 12, 8, seed=4),
        target=2,
        n_steps=2,
        return_convergence_delta=True,
    )


def _in_turn(*activations: nn.Module) -> nn.Module:
    """Each activation behind a linear layer, as Captum's rules need it."""
    layers = [part for one in activations for part in (nn.Linear(6, 6), one)]
    return seeded(lambda: nn.Sequential(*layers, nn.Linear(6, 3))).double()


DIFFERENCES: dict[str, Callable[[], nn.Module]] = {
    "rectifiers": lambda: _in_turn(nn.ReLU(), nn.LeakyReLU(0.1), nn.ELU()),
    "saturating": lambda: _in_turn(nn.Sigmoid(), nn.Tanh(), nn.Softplus()),
    "pooled": lambda: seeded(
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3, padding=1), nn.MaxPool1d(2), nn.Flatten(),
            nn.Linear(12, 3),
        )
    ).double(),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore:Input Tensor 0 did")
@pytest.mark.parametrize("name", ["DeepLift", "DeepLiftShap"])
@pytest.mark.parametrize("network", DIFFERENCES)
def test_contributions_of_differences(network: str, name: str) -> None:
    model, x = DIFFERENCES[network](), noise(3, 6)
    baselines = noise(5, 6, seed=2) if name == "DeepLiftShap" else noise(3, 6, seed=2)
    options: dict[str, Any] = {"target": 1, "return_convergence_delta": True}
    found = getattr(torchattr.captum, name)(model).attribute(x, baselines, **options)
    theirs = getattr(captum.attr, name)(model).attribute(x.clone(), baselines, **options)
    for one, other in zip(found, theirs, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other.detach(), rtol=0, atol=1e-12)
    method = getattr(torchattr.captum, name)(model)
    assert method.has_convergence_delta()
    assert method.multiplies_by_inputs


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore:Input Tensor 0 did")
def test_a_pool_behind_a_rectifier_differs_from_captums() -> None:
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 4)
        )
    ).double()
    x, baselines = noise(1, 3, 8, 8), noise(1, 3, 8, 8, seed=2)
    rise = (model(x) - model(baselines))[0, 1].item()
    found = torchattr.captum.DeepLift(model).attribute(x, baselines, target=1)
    theirs = captum.attr.DeepLift(model).attribute(x.clone(), baselines, target=1)
    assert found.sum().item() == pytest.approx(rise, rel=1e-9)
    alone = torchattr.DeepLift(model[1:]).attribute(
        model[0](x).detach(), model[0](baselines).detach(), 1
    )
    assert alone.sum().item() == pytest.approx(rise, rel=1e-9)
    assert (found - theirs).abs().max() > 0.05 * found.abs().max()


@pytest.mark.parametrize(("dtype", "off"), [(torch.float64, 1e-9), (torch.float32, 0.1)])
def test_deep_lift_of_logits_that_are_huge_and_alike(dtype: torch.dtype, off: float) -> None:
    # The documentation says by how much both are off: the spacing of float32 is about 0.1 here.
    first, last = nn.Linear(40, 400, bias=False), nn.Linear(400, 10)
    torch.nn.init.ones_(first.weight)
    torch.nn.init.ones_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.linspace(-0.1, 0.1, 10))
    net = nn.Sequential(first, nn.ReLU(), last, nn.Softmax(1)).to(dtype)
    x = torch.arange(120.0).reshape(3, 40).to(dtype)
    for package in (captum.attr, torchattr.captum):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found, delta = package.DeepLift(net).attribute(
                x.clone().requires_grad_(), 0, target=2, return_convergence_delta=True
            )
        assert found.abs().sum() < off
        assert delta.abs().max() < off
    assert "rounding is large: compare with float64" in str(caught[0].message)
