"""The same numbers as Captum's, from the same draws: Shapley values, KernelSHAP and LIME."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import captum.attr
import pytest
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr._core.lime import get_exp_kernel_similarity_function
from captum_parity import FEATURES, IMAGES, TwoInputs, Values, assert_alike, convolutions
from helpers import assert_same, refused, seeded
from torch import Tensor, nn

import torchattr
import torchattr.captum
from torchattr.errors import InputError, OutputError

SINGLE = 2.0**-17
"""Captum sums up to hundreds of gains, and fits its models, in float32."""
MASK = torch.tensor([[0, 0, 1, 1, 2, 2]])
OF_EACH = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 2, 3], [0, 1, 2, 3, 3, 3]])
SQUARES = (torch.arange(12)[:, None] // 6 * 2 + torch.arange(8) // 4)[None, None]


def values() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))).double()


def assert_parity(name: str, model: Any, inputs: Any, *given: Any, **options: Any) -> Any:
    """Fail unless both libraries return the same, with the same random state."""
    found = []
    for library in (captum.attr, torchattr.captum):
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(getattr(library, name)(model, *given).attribute(inputs, **options))
    theirs, ours = found
    assert_alike(ours, theirs, SINGLE)
    return ours


@pytest.mark.parametrize("mask", [None, MASK, OF_EACH], ids=["elements", "shared", "of each"])
@pytest.mark.parametrize("target", [1, [0, 2, 1], None])
@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("name", ["ShapleyValueSampling", "ShapleyValues"])
def test_shapley_values(name: str, at_once: int, target: Any, mask: Any) -> None:
    baselines = FEATURES.flip(0)
    options = {"feature_mask": mask, "target": target, "perturbations_per_eval": at_once}
    found = assert_parity(name, values(), FEATURES, baselines=baselines, **options)
    assert found.shape == ((3, 3, 6) if target is None else (3, 6))


@pytest.mark.parametrize("name", ["ShapleyValueSampling", "KernelShap", "Lime"])
@pytest.mark.parametrize("shape", [True, False])
def test_one_picture_with_superpixels(name: str, shape: bool) -> None:
    options: dict[str, Any] = {"feature_mask": SQUARES, "target": 2}
    if name != "ShapleyValueSampling":
        options = {**options, "return_input_shape": shape, "n_samples": 30}
    assert_parity(name, convolutions(), IMAGES[:1], **options)


@pytest.mark.parametrize("name", ["ShapleyValueSampling", "ShapleyValues", "KernelShap", "Lime"])
@pytest.mark.parametrize(
    "form",
    [lambda s: s.sum(), lambda s: s.sum().reshape(1), lambda s: s.sum().item()],
    ids=["scalar", "one value", "number"],
)
def test_forwards_that_aggregate_the_batch(name: str, form: Callable[[Tensor], Any]) -> None:
    model = values()
    found = assert_parity(name, lambda x: form(model(x)), FEATURES, feature_mask=MASK)
    assert found.shape == (1, 6)


@pytest.mark.parametrize("name", ["ShapleyValueSampling", "ShapleyValues", "KernelShap", "Lime"])
def test_several_inputs(name: str) -> None:
    masks = SQUARES, torch.tensor([[0, 4, 4, 5, 5, 5]])
    inputs = IMAGES[:1], FEATURES[:1]
    model = seeded(TwoInputs).double().eval()
    options = {} if "Shapley" in name else {"n_samples": 40}
    assert_parity(name, model, inputs, feature_mask=masks, target=1, **options)


@pytest.mark.parametrize("name", ["KernelShap", "Lime"])
def test_the_first_example_of_a_batch_has_captums_draws(name: str) -> None:
    torch.manual_seed(0)
    ours = getattr(torchattr.captum, name)(values()).attribute(FEATURES, target=1, n_samples=40)
    torch.manual_seed(0)
    theirs = getattr(captum.attr, name)(values()).attribute(FEATURES[:1], target=1, n_samples=40)
    assert_same(ours[:1], theirs.double(), SINGLE)


def test_a_seed_is_that_of_the_native_methods() -> None:
    for name in ("ShapleyValueSampling", "KernelShap", "Lime"):
        options = {"target": 1, "n_samples": 9}
        ours = getattr(torchattr.captum, name)(values()).attribute(FEATURES, seed=3, **options)
        native = getattr(torchattr, name)(values()).attribute(FEATURES, seed=3, **options)
        assert_same(ours, native, 1e-10)


@pytest.mark.parametrize("mode", ["cosine", "euclidean"])
def test_models_and_similarities_of_captum_serve(mode: Any) -> None:
    torch.manual_seed(0)
    kernel = get_exp_kernel_similarity_function(mode, 3.0)
    method = captum.attr.Lime(values(), SkLearnRidge(alpha=0.3), kernel)
    theirs = method.attribute(FEATURES[:1], target=1, n_samples=40)
    own = torchattr.captum.get_exp_kernel_similarity_function(mode, 3.0)
    for similarity in (kernel, own):
        torch.manual_seed(0)
        moved = torchattr.captum.Lime(values(), SkLearnRidge(alpha=0.3), similarity)
        assert_same(moved.attribute(FEATURES[:1], target=1, n_samples=40), theirs.double(), SINGLE)


@pytest.mark.parametrize("features", [1, 2, 6])
def test_the_parts_of_kernel_shap_are_captums(features: int) -> None:
    found = []
    for library in (captum.attr, torchattr.captum):
        torch.manual_seed(0)
        method = library.KernelShap(values())
        given = {
            "num_interp_features": features,
            "num_select_distribution": torch.distributions.Categorical(torch.arange(2.0)),
        }
        drawn = method.kernel_shap_perturb_generator(FEATURES, **given)
        samples = torch.cat(list(itertools.islice(drawn, 2 if features < 2 else 20)))
        weights = [method.kernel_shap_similarity_kernel(0, 0, s[None], **given) for s in samples]
        found.append((samples, torch.cat(weights)))
    (their_samples, their_weights), (samples, weights) = found
    assert torch.equal(samples, their_samples)
    assert torch.equal(weights, their_weights)


def test_the_parts_of_kernel_shap_make_lime_its_equal() -> None:
    method = torchattr.captum.KernelShap(values())
    parts = method.kernel_shap_similarity_kernel, method.kernel_shap_perturb_generator
    lime = torchattr.captum.Lime(values(), SkLearnRidge(alpha=1e-9), *parts)
    options = {"target": 1, "n_samples": 100}
    torch.manual_seed(0)
    found = lime.attribute(FEATURES[:1], **options)
    torch.manual_seed(0)
    assert_same(found, method.attribute(FEATURES[:1], **options), 1e-2)
    with refused(InputError, "num_interp_features", "number of features"):
        method.kernel_shap_similarity_kernel(0, 0, torch.ones(1, 2))
    with refused(InputError, "num_interp_features", "number of features"):
        next(method.kernel_shap_perturb_generator(FEATURES))


def _samples(original: Tensor, **given: Any) -> Any:
    for number in range(1, 40):
        yield torch.tensor([[number & 1, number >> 1 & 1, number >> 2 & 1, 1, 0, number >> 3 & 1]])


@pytest.mark.parametrize("at_once", [1, 7])
def test_lime_of_ones_own_parts(at_once: int) -> None:
    parts = (
        SkLearnRidge(alpha=0.1),
        lambda original, perturbed, sample, **given: 1.0 + sample.sum(),
        _samples,
        True,
        lambda sample, original, **given: sample * original,
        None,
    )
    options = {"target": 1, "n_samples": 30, "perturbations_per_eval": at_once}
    assert_parity_of_floats("LimeBase", parts, options)


def assert_parity_of_floats(name: str, parts: Any, options: Any) -> None:
    theirs = getattr(captum.attr, name)(values(), *parts).attribute(FEATURES[:1], **options)
    ours = getattr(torchattr.captum, name)(values(), *parts).attribute(FEATURES[:1], **options)
    assert ours.shape == theirs.shape
    assert_same(ours.double(), theirs.double(), SINGLE)


@pytest.mark.parametrize("name", ["ShapleyValueSampling", "ShapleyValues"])
def test_futures(name: str) -> None:
    model = seeded(Values).double()

    def later(x: Tensor) -> Any:
        future: Any = torch.futures.Future()
        future.set_result(model(x))
        return future

    method = getattr(torchattr.captum, name)
    torch.manual_seed(0)
    found = method(later).attribute_future(FEATURES, feature_mask=MASK)
    assert isinstance(found, torch.futures.Future)
    torch.manual_seed(0)
    assert torch.equal(found.wait(), method(model).attribute(FEATURES, feature_mask=MASK))
    with refused(OutputError, "torch.futures.Future", "Tensor", "attribute"):
        method(model).attribute_future(FEATURES)


@pytest.mark.parametrize("name", ["Lime", "KernelShap"])
def test_futures_that_captum_refuses(name: str) -> None:
    with pytest.raises(NotImplementedError, match=name):
        getattr(torchattr.captum, name)(values()).attribute_future()


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("ShapleyValueSampling", "Shapley Value Sampling"),
        ("ShapleyValues", "Shapley Values"),
        ("KernelShap", "Kernel Shap"),
        ("Lime", "Lime"),
    ],
)
def test_progress_reads_as_captums(
    name: str, title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    method = getattr(torchattr.captum, name)(values())
    method.attribute(FEATURES, target=1, feature_mask=MASK, show_progress=True)
    assert f"{title} attribution: 100%" in capsys.readouterr().err
