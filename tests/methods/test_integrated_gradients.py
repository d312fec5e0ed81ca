"""Integrated gradients against closed forms, brute force and Captum."""

from __future__ import annotations

from typing import Any

import captum.attr
import pytest
import torch
from helpers import assert_same, noise, refused
from peers import Counting, asked, classifier, mixed, picture_net, pictures, rows
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputTypeError, OutOfMemory, OutputError, TorchattrWarning

EXACT = 1e-12
# Captum holds the points and weights of most rules in single precision.
CAPTUM = 1e-6

METHODS = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"]


def by_hand(forward: Any, x: Tensor, start: Tensor, alphas: Any, weights: Any) -> Tensor:
    """Sum autograd's gradients point by point."""
    total = torch.zeros_like(x)
    for alpha, weight in zip(alphas, weights, strict=True):
        point = (start + alpha * (x - start)).requires_grad_()
        total += weight * torch.autograd.grad(forward(point).sum(), point)[0]
    return total * (x - start)


def test_equals_the_definition() -> None:
    model, x, start = classifier(), rows(), rows(1, 8)
    for method, offset in (("riemann_left", 0), ("riemann_middle", 0.5), ("riemann_right", 1)):
        found = ta.IntegratedGradients(model).attribute(x, start, 1, n_steps=7, method=method)
        alphas = [(k + offset) / 7 for k in range(7)]
        expected = by_hand(lambda v: model(v)[:, 1], x, start.expand_as(x), alphas, [1 / 7] * 7)
        assert_same(found, expected, EXACT)
    found = ta.IntegratedGradients(model).attribute(
        x, start, 1, n_steps=4, method="riemann_trapezoid"
    )
    weights = [1 / 6, 1 / 3, 1 / 3, 1 / 6]
    alphas = [0, 1 / 3, 2 / 3, 1]
    expected = by_hand(lambda v: model(v)[:, 1], x, start.expand_as(x), alphas, weights)
    assert_same(found, expected, EXACT)


def test_gauss_legendre_is_exact_for_polynomials() -> None:
    x, start = rows(), rows(3, 5)
    found, delta = ta.IntegratedGradients(lambda v: v.pow(7).sum(1)).attribute(
        x, start, n_steps=4, return_convergence_delta=True
    )
    assert_same(found, x.pow(7) - start.pow(7), 1e-11)
    assert delta.shape == (3,)
    assert float(delta.abs().max()) < 1e-9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("limit", [None, 3, 6, 1000])
def test_equals_captum(method: str, limit: int | None) -> None:
    model, x = classifier(), rows()
    options: dict[str, Any] = {
        "baselines": rows(3, 8),
        "target": [0, 2, 1],
        "n_steps": 8,
        "method": method,
        "return_convergence_delta": True,
    }
    expected, error = asked(captum.attr.IntegratedGradients(model), x, **options)
    found, delta = ta.IntegratedGradients(model).attribute(x, internal_batch_size=limit, **options)
    # Eighths are exact in single precision, so that the Riemann rules agree to rounding.
    within = CAPTUM if method == "gausslegendre" else EXACT
    assert_same(found, expected, within)
    assert delta.shape == error.shape
    assert float((delta - error.to(delta)).abs().max()) < 1e-7


def test_the_trapezoid_of_captum_falls_short() -> None:
    model, x = classifier(), rows()
    options: dict[str, Any] = {"target": 1, "n_steps": 5, "method": "riemann_trapezoid"}
    short = asked(captum.attr.IntegratedGradients(model), x, **options)
    found = ta.IntegratedGradients(model).attribute(x, **options)
    assert_same(found, short * 5 / 4, CAPTUM)
    line = ta.IntegratedGradients(lambda v: v.sum(1)).attribute(
        x, n_steps=5, method="riemann_trapezoid"
    )
    assert_same(line, x, EXACT)


def test_tuple_inputs_equal_captum() -> None:
    inputs = (rows(), noise(3, 4, seed=5))
    options: dict[str, Any] = {
        "baselines": (0.5, noise(1, 4, seed=6)),
        "target": [0, 2, 1],
        "additional_forward_args": (noise(3, seed=7), 2),
        "n_steps": 4,
        "method": "riemann_middle",
    }
    expected = asked(captum.attr.IntegratedGradients(mixed), inputs, **options)
    found = ta.IntegratedGradients(mixed).attribute(inputs, internal_batch_size=6, **options)
    assert isinstance(found, tuple)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, EXACT)


def test_pictures_and_local_attributions() -> None:
    model, x = picture_net(), pictures()
    for multiply in (True, False):
        expected = asked(captum.attr.IntegratedGradients(model, multiply), x, target=1)
        found = ta.IntegratedGradients(model, multiply).attribute(x, target=1)
        assert_same(found, expected, CAPTUM)


def test_the_delta_shrinks_and_can_be_asked_for_later() -> None:
    model, x, start = classifier(), rows() * 3, rows(1, 8)
    integrated = ta.IntegratedGradients(model)
    sizes = []
    for steps in (4, 64):
        maps, delta = integrated.attribute(
            x, start, [0, 1, 2], n_steps=steps, method="riemann_middle",
            return_convergence_delta=True,
        )  # fmt: skip
        later = integrated.compute_convergence_delta(maps, start, x, [0, 1, 2])
        assert_same(later, delta, EXACT)
        wanted = model(x)[range(3), range(3)] - model(start)[0]
        assert float((maps.sum(1) - wanted - delta).detach().abs().max()) < 1e-12
        sizes.append(float(delta.abs().max()))
    assert sizes[1] < sizes[0] / 50


def test_several_targets_and_their_deltas() -> None:
    model, x = classifier(), rows()
    integrated = ta.IntegratedGradients(model)
    best = model(x).argsort(1, descending=True)
    found, delta = integrated.attribute(
        x, target=ta.TopK(2), n_steps=5, return_convergence_delta=True
    )
    assert found.shape == (3, 2, 6)
    for position in range(2):
        one, error = integrated.attribute(
            x, target=best[:, position], n_steps=5, return_convergence_delta=True
        )
        assert_same(found[:, position], one, EXACT)
        assert float((delta[:, position] - error).abs().max()) < 1e-12
    assert_same(integrated.attribute(x, n_steps=5), found[:, 0], EXACT)


def test_a_neuron_and_a_callable() -> None:
    model, x = classifier(), rows()
    found = ta.IntegratedGradients(model).attribute(x, target=ta.Neuron("1", 4))
    hidden = nn.Sequential(*list(model.children())[:2])
    assert_same(found, ta.IntegratedGradients(hidden).attribute(x, target=4), EXACT)
    labels = torch.tensor([0, 2, 1])
    found = ta.IntegratedGradients(model).attribute(
        x, target=lambda out: out[torch.arange(3), labels]
    )
    assert_same(found, ta.IntegratedGradients(model).attribute(x, target=labels), EXACT)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_type_and_precision(kind: torch.dtype) -> None:
    model = classifier()
    exact = ta.IntegratedGradients(model).attribute(rows().to(kind).double(), target=1)
    found = ta.IntegratedGradients(model.to(kind)).attribute(rows().to(kind), target=1)
    assert found.dtype == kind
    assert_same(found.double(), exact, 16 * torch.finfo(kind).eps)


def test_chunks_are_bounded_and_halved() -> None:
    model = Counting(classifier())
    integrated = ta.IntegratedGradients(model)
    expected = integrated.attribute(rows(), target=1, n_steps=10)
    assert max(model.seen) <= 64
    model.seen.clear()
    integrated.attribute(rows(), target=1, n_steps=10, internal_batch_size=8)
    assert model.seen == [3, 6, 6, 6, 6, 6]
    model.limit = 7
    assert_same(integrated.attribute(rows(), target=1, n_steps=10), expected, EXACT)
    model.limit = 3
    assert_same(integrated.attribute(rows(), target=1, n_steps=10), expected, EXACT)


def test_says_when_not_even_one_step_fits() -> None:
    model = Counting(classifier())

    def forward(x: Tensor) -> Tensor:
        model.limit = 0 if model.seen else None
        return model(x)

    with refused(OutOfMemory, "single step"):
        ta.IntegratedGradients(forward).attribute(rows(), target=1)


def test_one_number_for_a_single_example() -> None:
    model = classifier()
    found = ta.IntegratedGradients(lambda x: model(x)[0, 1]).attribute(rows(1))
    assert_same(found, ta.IntegratedGradients(model).attribute(rows(1), target=1), EXACT)
    with refused(OutputError, "one row for each example"):
        ta.IntegratedGradients(lambda x: model(x).sum()).attribute(rows(2))


def test_an_empty_batch() -> None:
    found, delta = ta.IntegratedGradients(classifier()).attribute(
        rows()[:0], target=1, return_convergence_delta=True
    )
    assert found.shape == (0, 6)
    assert delta.shape == (0,)


def test_the_model_and_input_stay_as_they_were() -> None:
    model, x = classifier(), rows().requires_grad_()
    found = ta.IntegratedGradients(model).attribute(x, target=1)
    assert not found.requires_grad
    assert x.grad is None
    assert x.requires_grad
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    counting = Counting(model, limit=3, error=ValueError("stop"))
    with pytest.raises(ValueError, match="stop"):
        ta.IntegratedGradients(counting).attribute(x, target=1)
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_warns_when_the_batch_is_larger_than_allowed() -> None:
    with pytest.warns(TorchattrWarning, match="internal_batch_size=2"):
        found = ta.IntegratedGradients(classifier()).attribute(
            rows(), target=1, internal_batch_size=2
        )
    assert_same(found, ta.IntegratedGradients(classifier()).attribute(rows(), target=1), EXACT)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"method": "simpson"}, ta.InputError, ("method", "simpson", "gausslegendre")),
        ({"n_steps": 0}, ta.InputError, ("n_steps", "at least 1", "0")),
        ({"n_steps": 1, "method": "riemann_trapezoid"}, ta.InputError, ("trapezoid", "at least 2")),
        ({"n_steps": 2.5}, InputTypeError, ("n_steps", "float")),
        ({"internal_batch_size": 0}, ta.InputError, ("internal_batch_size", "0")),
        ({"internal_batch_size": "all"}, InputTypeError, ("internal_batch_size", "str")),
        ({"baselines": torch.zeros(5)}, ta.ShapeError, ("baselines", "(5,)")),
        ({"baselines": float("nan")}, ta.InputError, ("baselines", "NaN")),
        ({"target": 3}, ta.TargetError, ("0 to 2",)),
    ],
)
def test_bad_arguments(options: dict[str, Any], kind: Any, words: tuple[str, ...]) -> None:
    with refused(kind, *words):
        ta.IntegratedGradients(classifier()).attribute(rows(), **{"target": 1, **options})


def test_integers_have_no_gradient() -> None:
    with refused(InputTypeError, "int64"):
        ta.IntegratedGradients(classifier()).attribute(torch.ones(1, 6).long(), target=1)


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize("squeeze", [lambda s: s.squeeze(), lambda s: s.squeeze(0)])
def test_a_squeezed_example_is_a_row(squeeze: Any, size: int | None) -> None:
    model, x = classifier(), rows(1)
    for target in (None, 1, ta.TopK(2)):
        options: dict[str, Any] = {"target": target, "return_convergence_delta": True}
        method = ta.IntegratedGradients(lambda v: squeeze(model(v)))
        found, delta = method.attribute(x, internal_batch_size=size, **options)
        expected, other = ta.IntegratedGradients(model).attribute(x, **options)
        assert_same(found, expected, EXACT)
        assert delta.shape == other.shape


def test_values_of_what_aggregates_are_no_rows() -> None:
    for forward in (lambda x: x[:1, :3].square(), lambda x: x.square().sum(0).reshape(2, 3)):
        with refused(OutputError, "one row for each example"):
            ta.IntegratedGradients(forward).attribute(rows())
