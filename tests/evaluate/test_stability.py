"""Relative stability, against loops over the formulas of Agarwal et al. 2022."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr import evaluate
from torchattr.errors import InputError, LayerChoiceWarning, OutputError, UndefinedMetricWarning
from torchattr.evaluate import (
    relative_input_stability,
    relative_output_stability,
    relative_representation_stability,
    robustness,
)

X = noise(4, 5)
SHIFTS = 1.5 * noise(4, 6, 5, seed=3)
EPS = 1e-6


def model() -> nn.Sequential:
    net = seeded(lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))).double()
    assert isinstance(net, nn.Sequential)
    return net


def shifted(rows: Tensor) -> Tensor:
    return rows + SHIFTS.flatten(0, 1)


def norm(values: Tensor, order: float) -> float:
    total = sum(abs(value) ** order for value in values.detach().flatten().tolist())
    return float(total ** (1 / order))


def share(clean: Tensor, changed: Tensor) -> Tensor:
    return (clean - changed) / torch.where(clean == 0, EPS, clean)


def oracle(name: str, explain: Any, net: nn.Sequential, order: float, keep: bool) -> Tensor:
    """The largest ratio over the perturbed inputs that count."""
    found = []
    for x, shifts in zip(X, SHIFTS, strict=True):
        x = x[None]
        clean, predicted = explain(x), net(x).argmax()
        ratios = [float("-inf")]
        for shift in shifts:
            changed = x + shift
            if keep and net(changed).argmax() != predicted:
                continue
            below = {
                "input": share(x, changed),
                "output": net(x) - net(changed),
                "representation": share(net[:2](x), net[:2](changed)),
            }[name]
            above = norm(share(clean, explain(changed)), order)
            ratios.append(above / max(norm(below, 2.0), EPS))
        found.append(max(ratios))
    values = torch.tensor(found, dtype=torch.float64)
    return torch.where(values == float("-inf"), torch.nan, values)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", ["input", "output", "representation"])
def test_they_are_the_formulas(name: str, keep: bool, order: float) -> None:
    net = model()
    method = ta.InputXGradient(net)
    measure = getattr(evaluate, f"relative_{name}_stability")
    options: dict[str, Any] = {"perturb_func": shifted, "n_samples": 6, "perturbations_per_eval": 6}
    if name == "representation":
        options["layer"] = "1"
    found = measure(
        method, X, **options, norm_ord=order, keep_prediction=keep, target=1, eps_min=EPS
    )
    expected = oracle(name, lambda x: method.attribute(x, 1), net, order, keep)
    assert_same(found, expected, 1e-10)


def test_the_prediction_changes_for_some_but_not_all() -> None:
    """Otherwise the test above could not tell whether they are left out."""
    net = model()
    classes = net((X[:, None] + SHIFTS).flatten(0, 1)).argmax(1).reshape(4, 6)
    kept = classes == net(X).argmax(1)[:, None]
    assert bool(kept.any(1).all())
    assert not bool(kept.all())


def test_zeros_count_as_the_least_denominator() -> None:
    x = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
    found = relative_input_stability(
        lambda x: x.flip(1), x, perturb_func=lambda x: x + 0.5, n_samples=1, model=nn.Identity()
    )
    assert_same(found, torch.ones(1, dtype=torch.float64), 1e-12)
    still = relative_input_stability(
        lambda x: x.flip(1), x, perturb_func=lambda x: x, n_samples=1, model=nn.Identity()
    )
    assert still.tolist() == [0.0]


def test_no_kept_prediction_is_undefined() -> None:
    def by_sign(x: Tensor) -> Tensor:
        return torch.cat([x[:, :1], -x[:, :1]], 1)

    def first_turned(rows: Tensor) -> Tensor:
        turned = rows.clone()
        turned[:2] *= -1
        return turned * 1.5

    options = {"perturb_func": first_turned, "n_samples": 2, "perturbations_per_eval": 2}
    with pytest.warns(UndefinedMetricWarning, match="changes the predicted class") as caught:
        found = relative_output_stability(ta.InputXGradient(by_sign), X, **options, target=0)
    assert len(caught) == 1
    assert found.isnan().tolist() == [True, False, False, False]


def test_all_measures_come_from_the_same_copies() -> None:
    net = model()
    methods = {"gradient": ta.Saliency(net), "product": ta.InputXGradient(net)}
    calls = []
    hook = net.register_forward_hook(lambda *_: calls.append(1))
    options = {"n_samples": 4, "radius": 0.1, "target": 2, "seed": 5}
    found = robustness(methods, X, layer="1", **options)
    hook.remove()
    # The target, its memory; then the batch and all copies, each explained and observed.
    assert len(calls) == 6
    for name, by_method in found.items():
        further = {"layer": "1"} if "representation" in name else {}
        for method, values in by_method.items():
            alone = getattr(evaluate, name)(methods[method], X, **options, **further)
            assert_same(values, alone, 1e-12)
    assert len(found) == 6


def test_the_last_spatial_layer_is_the_default() -> None:
    net = seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    ).double()
    x = noise(2, 1, 6, 6)
    method = ta.Saliency(net)
    with pytest.warns(LayerChoiceWarning, match="layer='1'"):
        found = relative_representation_stability(method, x, target=1, radius=0.3)
    named = relative_representation_stability(method, x, layer="1", target=1, radius=0.3)
    assert_same(found, named)


def test_wrong_arguments_are_refused() -> None:
    net = model()
    with refused(InputError, "eps_min", "0"):
        relative_input_stability(ta.Saliency(net), X, eps_min=0)
    with refused(InputError, "measures", "'lipschitz'", "local_lipschitz"):
        robustness(ta.Saliency(net), X, measures=("lipschitz",))
    with refused(InputError, "0 models", "model=..."):
        relative_input_stability(lambda x: x, X)
    other = {"one": ta.Saliency(net), "two": ta.Saliency(model())}
    with refused(InputError, "2 models", "model=..."):
        relative_output_stability(other, X)
    with refused(OutputError, "one row of scores"):
        relative_input_stability(lambda x: x, X, model=lambda x: x.sum())
