"""Several explanations of the same copies, against each of them alone."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from measured import SmallNet
from torch import Tensor

import torchattr as ta
from torchattr.core.inputs import as_inputs
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate import sensitivity_max
from torchattr.evaluate.explained_copies import Explainer, Explanations, rows_of

X = noise(3, 2, 6, 8)


def test_methods_of_one_model_share_the_forward() -> None:
    net = seeded(SmallNet).double()
    calls = []

    def counted(x: Tensor) -> Tensor:
        calls.append(len(x))
        return net(x)

    methods = {
        "gradient": ta.Saliency(counted),
        "signed": partial(ta.Saliency(counted).attribute, abs=False),
        "product": ta.InputXGradient(counted),
        "guided": ta.GuidedBackprop(counted),
    }
    options = {"n_samples": 4, "perturbations_per_eval": 2, "target": [0, 1, 2], "seed": [1, 2, 3]}
    found = sensitivity_max(methods, X, **options)
    assert list(found) == list(methods)
    # One fixes the target; the batch and both parts of two copies are explained together.
    assert calls == [3, 3, 6, 6]
    for name, method in methods.items():
        assert_same(found[name], sensitivity_max(method, X, **options), 1e-12)


def test_what_cannot_share_is_explained_beside_the_others() -> None:
    net = seeded(SmallNet).double()
    other = seeded(SmallNet, seed=5).double()
    methods = {
        "gradient": ta.Saliency(net),
        "integrated": partial(ta.IntegratedGradients(net).attribute, n_steps=3),
        "of another": ta.InputXGradient(other),
        "function": lambda x, target: x.square(),
        "product": ta.InputXGradient(net),
        "grad-cam": ta.GradCAM(net, layer="1"),
    }
    options = {"n_samples": 3, "target": 1}
    found = sensitivity_max(methods, X, **options)
    for name, method in methods.items():
        assert_same(found[name], sensitivity_max(method, X, **options), 1e-12)


def test_predicted_classes_of_each_model_are_its_own() -> None:
    nets = [seeded(SmallNet, seed=seed).double() for seed in (0, 5)]
    assert not torch.equal(nets[0](X).argmax(1), nets[1](X).argmax(1))
    methods = {str(i): ta.InputXGradient(net) for i, net in enumerate(nets)}
    found = sensitivity_max(methods, X, radius=1.0, n_samples=3)
    for i, net in enumerate(nets):
        target = net(X).argmax(1)
        own = sensitivity_max(methods[str(i)], X, radius=1.0, n_samples=3, target=target)
        assert_same(found[str(i)], own, 1e-12)


def test_options_of_a_partial_come_before_those_of_the_call() -> None:
    method = ta.Saliency(seeded(SmallNet))
    one = Explainer.of(partial(method.attribute, abs=False), {"target": 1, "abs": True})
    assert one.options == {"target": 1, "abs": False}
    assert one.method is method
    assert one.sharing is not None
    assert Explainer.of(partial(method.attribute, X), {}).method is None


def test_free_memory_bounds_the_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    net = seeded(SmallNet).double()
    given = as_inputs(X)
    assert Explanations(ta.Saliency(net), given, {}, None).at_once > 1
    assert Explanations(ta.Saliency(net), given, {}, 7).at_once == 7
    module = "torchattr.methods._perturbation.memory_budget.free_bytes"
    monkeypatch.setattr(module, lambda device: 1)
    assert Explanations(ta.Saliency(net), given, {}, None).at_once == 1


def test_a_forward_that_aggregates_gets_one_copy_at_a_time() -> None:
    def total(x: Tensor) -> Tensor:
        return x.square().sum()

    found = Explanations(ta.Saliency(total), as_inputs(X[:1]), {}, None)
    assert found.at_once == 1


def test_wrong_explanations_are_refused() -> None:
    given = as_inputs(X)
    with refused(InputError, "explanation is empty"):
        Explanations({}, given, {}, None)
    with refused(InputTypeError, "explanation must be a method", "str"):
        Explanations({"one": "saliency"}, given, {}, None)
    with refused(ShapeError, "(5,)", "3 examples", "one row"):
        rows_of(torch.zeros(5), 1, 3)
    broken = torch.zeros(4, 2)
    broken[3, 1] = torch.nan
    with refused(InputError, "NaN or infinite", "example 1"):
        rows_of(broken, 2, 2)
