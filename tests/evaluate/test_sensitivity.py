"""The largest relative change of an explanation, against its definition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from measured import SmallNet
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate import (
    continuity,
    local_lipschitz,
    robustness,
    sensitivity_average,
    sensitivity_max,
)

X = noise(3, 4)


def model() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))).double()


def shifted(inputs: Tensor, radius: float) -> Tensor:
    """Shift each row by another part of the radius."""
    return inputs + radius * torch.linspace(-1, 1, len(inputs), dtype=inputs.dtype)[:, None]


@pytest.mark.parametrize(("norm", "order"), [("fro", 2.0), (1, 1.0), (float("inf"), float("inf"))])
def test_it_is_the_definition(norm: float | str, order: float) -> None:
    method = ta.Saliency(model())
    shifts = 0.1 * torch.linspace(-1, 1, 12, dtype=X.dtype).reshape(3, 4)
    expected = []
    for x, own in zip(X, shifts, strict=True):
        clean = method.attribute(x[None], 1)
        changes = [method.attribute(x[None] + shift, 1) - clean for shift in own]
        sizes = torch.stack([torch.linalg.vector_norm(change, order) for change in changes])
        expected.append(sizes.max() / torch.linalg.vector_norm(clean, order))
    options = {"perturb_func": shifted, "radius": 0.1, "n_samples": 4, "norm_ord": norm}
    found = sensitivity_max(method, X, **options, perturbations_per_eval=4, target=1)
    assert_same(found, torch.stack(expected), 1e-12)
    same = sensitivity_max(method.attribute, X, **options, perturbations_per_eval=4, target=1)
    assert_same(same, found)


@pytest.mark.parametrize("at_once", [1, 2, None])
def test_noise_does_not_depend_on_parts_or_neighbours(at_once: int | None) -> None:
    method = ta.Saliency(model())
    whole = sensitivity_max(method, X, n_samples=5, seed=[3, 4, 5], target=[0, 1, 2])
    options = {"n_samples": 5, "perturbations_per_eval": at_once}
    assert_same(
        sensitivity_max(method, X, seed=[3, 4, 5], target=[0, 1, 2], **options), whole, 1e-12
    )
    assert_same(sensitivity_max(method, X[1:2], seed=4, target=1, **options), whole[1:2], 1e-12)


def test_samples_lie_within_the_radius() -> None:
    def largest(inputs: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(inputs[:, :1]), inputs - X[:1]], 1)

    found = sensitivity_max(largest, X[:1], radius=0.5, n_samples=200, norm_ord=float("inf"))
    assert 0.45 < float(found) <= 0.5


def test_predicted_classes_are_those_of_the_unchanged_input() -> None:
    net = model()
    options = {"radius": 1.0, "n_samples": 20}
    own = sensitivity_max(ta.Saliency(net), X, target=net(X).argmax(1), **options)
    assert_same(sensitivity_max(ta.Saliency(net), X, **options), own, 1e-12)


def test_options_of_each_example_are_repeated() -> None:
    base = noise(3, 4, seed=3)
    method = ta.IntegratedGradients(model())
    found = sensitivity_max(method, X, target=1, baselines=base, n_steps=4, seed=[1, 2, 3])
    alone = sensitivity_max(method, X[2:], target=1, baselines=base[2:], n_steps=4, seed=3)
    assert_same(found[2:], alone, 1e-12)


def test_explanations_of_several_inputs_count_together() -> None:
    def explain(inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return inputs[0].square(), inputs[1]

    def bare(inputs: Tensor) -> Tensor:
        return torch.cat([inputs[:, :2].square(), inputs[:, 2:]], 1)

    def half(inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return inputs[0] / 2, inputs[1] / 2

    found = sensitivity_max(explain, (X[:, :2], X[:, 2:]), perturb_func=half)
    assert_same(found, sensitivity_max(bare, X, perturb_func=lambda inputs: inputs / 2), 1e-12)


def test_wrong_arguments_are_refused() -> None:
    method = ta.Saliency(model())
    with refused(InputError, "norm_ord", "'nuc'"):
        sensitivity_max(method, X, norm_ord="nuc", target=1)
    with refused(InputError, "radius", "-1"):
        sensitivity_max(method, X, radius=-1, target=1)
    with refused(InputTypeError, "explanation", "int"):
        sensitivity_max(3, X)  # type: ignore[arg-type]
    with refused(ShapeError, "one row"):
        sensitivity_max(lambda inputs: inputs.sum(0), X)
    with refused(ShapeError, "perturb_func", "(30, 3)"):
        sensitivity_max(method, X, perturb_func=lambda inputs: inputs[:, :3], target=1)


SHIFTS = 0.1 * torch.linspace(-1, 1, 12, dtype=X.dtype).reshape(3, 4)
"""What `shifted` adds to each example, four times, with a radius of 0.1."""


def changes(explain: Callable[[Tensor], Tensor], order: float) -> list[list[float]]:
    """The norms of the change of an explanation for each example and shift."""
    found = []
    for x, own in zip(X, SHIFTS, strict=True):
        clean = explain(x[None])
        moved = [explain(x[None] + shift) - clean for shift in own]
        found.append([float(torch.linalg.vector_norm(one, order)) for one in moved])
    return found


def test_the_average_is_the_mean_of_relative_changes() -> None:
    method = ta.InputXGradient(model())
    sizes = [float(method.attribute(x[None], 1).norm()) for x in X]
    expected = [
        sum(own) / 4 / size
        for own, size in zip(changes(lambda x: method.attribute(x, 1), 2.0), sizes, strict=True)
    ]
    options = {"perturb_func": shifted, "radius": 0.1, "n_samples": 4}
    found = sensitivity_average(method, X, **options, perturbations_per_eval=4, target=1)
    assert_same(found, torch.tensor(expected, dtype=X.dtype), 1e-10)
    assert bool((found < sensitivity_max(method, X, **options, target=1)).all())


@pytest.mark.parametrize("order", [1.0, 2.0])
@pytest.mark.parametrize("input_order", [2.0, float("inf")])
def test_the_lipschitz_estimate_is_the_steepest_change(order: float, input_order: float) -> None:
    method = ta.InputXGradient(model())
    sizes = changes(lambda x: method.attribute(x, 1), order)
    expected = []
    for own, shifts in zip(sizes, SHIFTS, strict=True):
        lengths = [torch.linalg.vector_norm(shift.expand(4), input_order) for shift in shifts]
        expected.append(max(size / float(one) for size, one in zip(own, lengths, strict=True)))
    options = {"perturb_func": shifted, "radius": 0.1, "n_samples": 4, "perturbations_per_eval": 4}
    norms = {"norm_ord": order, "input_norm_ord": input_order}
    found = local_lipschitz(method, X, **options, **norms, target=1)
    assert_same(found, torch.tensor(expected, dtype=X.dtype), 1e-10)


def test_unchanged_inputs_have_no_slope() -> None:
    with pytest.warns(UndefinedMetricWarning, match="no perturbation changes") as caught:
        found = local_lipschitz(lambda x: x, X, radius=0.0)
    assert len(caught) == 1
    assert bool(found.isnan().all())


def test_continuity_is_the_steepest_change_under_moves() -> None:
    net = seeded(SmallNet).double()
    pictures = noise(2, 2, 6, 8)
    method = ta.InputXGradient(net)
    expected = []
    for x in pictures:
        clean, slopes = method.attribute(x[None], 2), []
        for shift in (-7, -4, -1, 1, 4, 7):
            changed = torch.full_like(x, 0.5)
            for column in range(8):
                if 0 <= column - shift < 8:
                    changed[..., column] = x[..., column - shift]
            change = (method.attribute(changed[None], 2) - clean).abs().sum()
            slopes.append(float(change / (changed - x).norm()))
        expected.append(max(slopes))
    found = continuity(method, pictures, steps=6, fill=0.5, target=2)
    assert_same(found, torch.tensor(expected, dtype=X.dtype), 1e-10)
    part = continuity(
        {"one": method}, pictures[1:], steps=6, fill=0.5, target=2, perturbations_per_eval=1
    )
    assert_same(part["one"], found[1:], 1e-12)


def test_nothing_given_is_changed() -> None:
    x = X.clone()
    robustness(ta.Saliency(model()), x, layer="0", target=1)
    assert torch.equal(x, X)


def test_explanations_must_be_finite() -> None:
    def broken(inputs: Tensor) -> Tensor:
        return torch.where(inputs.abs().sum(1, keepdim=True) > 100, torch.nan, inputs)

    far = X * torch.tensor([[1.0], [1e3], [1.0]])
    with refused(InputError, "NaN or infinite", "example 1"):
        sensitivity_max(broken, far)


def test_only_samples_that_keep_the_prediction_count_if_asked() -> None:
    """The score of the first class rises with the first element, which is what is explained."""

    def model(x: Tensor) -> Tensor:
        return torch.stack([x[:, 0], 0 * x[:, 0]], 1)

    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    shifts = torch.tensor([[0.5, 0.0], [-3.0, 0.0]], dtype=torch.float64)
    options = {"perturb_func": lambda rows: rows + shifts, "n_samples": 2, "radius": 1.0}
    for name, kept, all_of_them in (
        ("sensitivity_max", 0.5 / 5**0.5, 3 / 5**0.5),
        ("sensitivity_average", 0.5 / 5**0.5, 1.75 / 5**0.5),
    ):
        given = {"measures": name, "model": model, "perturbations_per_eval": 2, **options}
        found = robustness(lambda x: x, x, keep_prediction=True, **given)[name]
        assert_same(found, torch.tensor([kept], dtype=x.dtype), 1e-12)
        found = robustness(lambda x: x, x, **given)[name]
        assert_same(found, torch.tensor([all_of_them], dtype=x.dtype), 1e-12)
