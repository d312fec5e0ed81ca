"""Forwards that compute gradients themselves: PyTorch's own values, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import assert_same, autograd, noise, rectifiers, refused, seeded
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, jvp, stack_module_state, vjp, vmap

import torchattr as ta
from torchattr.errors import LayerError, TorchattrWarning

X = noise(4, 6)

pytestmark = [
    pytest.mark.usefixtures("outputs_are_the_models_own"),
    pytest.mark.filterwarnings(
        # PyTorch's warnings about its own code, and about models such as these.
        "ignore:.*torch.jit.*",
        "ignore:Using backward.. with create_graph=True",
        # Smooth activations inside do not matter here.
        "ignore:.*softplus:torchattr.CoverageWarning",
    ),
]


def energy() -> nn.Sequential:
    layers = (nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.Softplus(), nn.Linear(8, 1))
    model = seeded(lambda: nn.Sequential(*layers)).double()
    assert isinstance(model, nn.Sequential)
    return model


class Inside(nn.Module):
    """Returns an output that contains a gradient of its energy."""

    def __init__(self, form: Callable[[Inside, Tensor], Tensor]) -> None:
        super().__init__()
        self.first = seeded(nn.Linear, 6, 6, seed=3).double()
        self.energy = energy()
        self.form = form

    def total(self, x: Tensor) -> Tensor:
        return self.energy(x).sum()

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            return self.form(self, torch.relu(self.first(x)) + x)


def force(self: Inside, x: Tensor) -> Tensor:
    x = x if x.requires_grad else x.clone().requires_grad_()
    return torch.autograd.grad(self.total(x), x, create_graph=True)[0]


def backward(self: Inside, x: Tensor) -> Tensor:
    kept = x * 1.0
    kept = kept if kept.requires_grad else kept.requires_grad_()
    kept.retain_grad()
    torch.autograd.backward([self.total(kept)], create_graph=True, inputs=[kept])
    return kept.grad * 1.0


def tensor_backward(self: Inside, x: Tensor) -> Tensor:
    leaf = x.detach().requires_grad_()
    self.total(leaf).backward(inputs=[leaf])
    return x * leaf.grad


def constant(self: Inside, x: Tensor) -> Tensor:
    x = x if x.requires_grad else x.clone().requires_grad_()
    (weight,) = torch.autograd.grad(self.total(x), x)
    return x * weight


def of_a_parameter(self: Inside, x: Tensor) -> Tensor:
    weight = self.energy[2].weight
    (found,) = torch.autograd.grad(self.total(x), weight, create_graph=True)
    return x * found.abs().sum()


def twice(self: Inside, x: Tensor) -> Tensor:
    found = force(self, x)
    return found + torch.autograd.grad(found.pow(2).sum(), x, create_graph=True)[0]


def functional_jacobian(self: Inside, x: Tensor) -> Tensor:
    jacobian = torch.autograd.functional.jacobian(self.total, x, create_graph=True)
    assert isinstance(jacobian, Tensor)
    return jacobian


def forward_mode(self: Inside, x: Tensor) -> Tensor:
    import torch.autograd.forward_ad as forward_ad

    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        return x * forward_ad.unpack_dual(self.energy(dual)).tangent


FORMS: dict[str, Callable[[Inside, Tensor], Tensor]] = {
    "autograd.grad": force,
    "autograd.backward": backward,
    "Tensor.backward": tensor_backward,
    "a constant": constant,
    "of a parameter": of_a_parameter,
    "a gradient of a gradient": twice,
    "functional.jacobian": functional_jacobian,
    "forward mode": forward_mode,
    "func.grad": lambda self, x: grad(self.total)(x),
    "func.vjp": lambda self, x: vjp(self.total, x)[1](torch.ones(()).double())[0],
    "func.jacrev": lambda self, x: jacrev(self.total)(x),
    "func.jvp": lambda self, x: x * jvp(self.energy, (x,), (torch.ones_like(x),))[1],
    "a gradient for each example": lambda self, x: vmap(grad(self.total))(x),
    "vmap": lambda self, x: x * vmap(self.energy)(x),
}


def of_target(output: Tensor) -> Tensor:
    return output[:, 1]


@pytest.mark.parametrize("form", FORMS)
def test_saliency_is_the_gradient(form: str) -> None:
    model = Inside(FORMS[form]).eval()
    expected = autograd(model, X, of_target)
    assert_same(ta.Saliency(model).attribute(X, target=1, abs=False), expected, 1e-12)
    assert_same(ta.InputXGradient(model).attribute(X, target=1), X * expected, 1e-12)
    explained = ta.explain(model, X, ["saliency", "input_x_gradient"], targets=1)
    assert torch.equal(explained.output, model(X).detach())


# A detached gradient is constant for the model, and that of a parameter sums over the batch.
@pytest.mark.parametrize(
    "form", [f for f in FORMS if f not in ("a constant", "Tensor.backward", "of a parameter")]
)
def test_integrated_gradients_is_complete(form: str) -> None:
    model = Inside(FORMS[form]).eval()
    model.energy[1] = nn.Tanh()  # The derivative of a rectifier jumps, and no integral sees that.
    found = ta.IntegratedGradients(model).attribute(X, target=1, n_steps=300)
    scores = (model(X) - model(torch.zeros_like(X)))[:, 1]
    assert torch.allclose(found.sum(1), scores, atol=1e-3, rtol=1e-3)
    assert not found.requires_grad


# A gradient with respect to a parameter is a sum over the batch.
@pytest.mark.parametrize("form", [form for form in FORMS if form != "of a parameter"])
@pytest.mark.parametrize("method", [ta.FeatureAblation, ta.Occlusion])
def test_methods_without_gradients_see_the_scores(form: str, method: Any) -> None:
    model = Inside(FORMS[form]).eval()
    options = {"sliding_window_shapes": (1,)} if method is ta.Occlusion else {}
    found = method(model).attribute(X, target=1, **options)
    for column in range(6):
        without = X.clone()
        without[:, column] = 0
        expected = (model(X) - model(without))[:, 1].detach()
        assert torch.allclose(found[:, column], expected, atol=1e-12)
    assert not found.requires_grad


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_before_is_served(form: str) -> None:
    model = Inside(FORMS[form]).eval()
    found = ta.LayerActivation(model, "first").attribute(X)
    assert torch.equal(found, model.first(X))


@pytest.mark.parametrize("method", [ta.GuidedBackprop, ta.Deconvolution])
@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("a constant", "vmap")])
def test_rules_are_refused(form: str, method: Any) -> None:
    model = Inside(FORMS[form]).eval()
    with refused(ta.NoRuleMatched, "cannot rewrite", "relu", "takes a gradient", "strict=False"):
        method(model).attribute(X, target=1)


@pytest.mark.parametrize("method", [ta.GuidedBackprop, ta.Deconvolution])
def test_rules_hold_beside_a_constant_gradient(method: Any) -> None:
    """The rule applies to the model's output only; the gradient inside stays the true one."""
    model = Inside(constant).eval()
    with torch.enable_grad():
        hidden = (torch.relu(model.first(X)) + X).detach().requires_grad_()
        (weight,) = torch.autograd.grad(model.total(hidden), hidden)
    rule = "guided" if method is ta.GuidedBackprop else "deconvolution"
    with rectifiers(rule):
        expected = autograd(lambda x: (torch.relu(model.first(x)) + x) * weight, X, of_target)
    assert_same(method(model).attribute(X, target=1), expected, 1e-12)
    explained = ta.explain(model, X, ["guided_backprop", "saliency"], targets=1)
    assert torch.equal(explained.output, model(X).detach())
    leaf = autograd(model, X, of_target).abs()
    assert_same(explained["saliency"][:, 0], leaf, 1e-12)


def test_random_numbers_are_drawn_once() -> None:
    def noisy(self: Inside, x: Tensor) -> Tensor:
        return force(self, x) + torch.rand(1).double()

    model = Inside(noisy).eval()
    torch.manual_seed(5)
    expected = model(X).detach()
    torch.manual_seed(5)
    assert torch.equal(ta.explain(model, X, ["saliency"], targets=1).output, expected)


def test_a_model_that_catches_everything_is_run_once_more_too() -> None:
    def catching(self: Inside, x: Tensor) -> Tensor:
        try:
            return force(self, x)
        except:  # noqa: E722  # this is what is tested
            return x

    model = Inside(catching).eval()
    expected = autograd(model, X, of_target)
    assert_same(ta.Saliency(model).attribute(X, target=1, abs=False), expected, 1e-12)


def test_parameters_are_as_before() -> None:
    model = Inside(of_a_parameter).eval()
    ta.Saliency(model).attribute(X, target=1)
    assert all(one.grad is None and one.requires_grad for one in model.parameters())


# Ensembles by vmap have no gradient inside: rectifiers obey their rules there.


def members() -> list[nn.Module]:
    def member() -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3)
        )

    return [seeded(member, seed=seed).double() for seed in range(3)]


def ensemble(parts: list[nn.Module]) -> Any:
    parameters, buffers = stack_module_state(parts)
    template = parts[0]

    def one(own: Any, other: Any, x: Tensor) -> Tensor:
        return functional_call(template, (own, other), (x,))

    return lambda x: vmap(one, (0, 0, None))(parameters, buffers, x).mean(0)


@pytest.mark.parametrize("method", [ta.Saliency, ta.GuidedBackprop, ta.Deconvolution])
def test_an_ensemble_is_the_mean_of_its_members(method: Any) -> None:
    parts = members()
    expected = method(lambda x: torch.stack([part(x) for part in parts]).mean(0)).attribute(X, 1)
    assert_same(method(ensemble(parts)).attribute(X, target=1), expected, 1e-12)


RECTIFIED: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "in place": lambda h: torch.relu_(h * 1.0),
    "relu6": nn.functional.relu6,
    "clamp": lambda h: h.clamp(min=0),
    "product": lambda h: h * (h > 0),
    "where": lambda h: torch.where(h > 0, h, 0),
    "nested": lambda h: vmap(torch.relu)(h.view(3, 3)).flatten(),
}


@pytest.mark.parametrize("spelling", RECTIFIED)
@pytest.mark.parametrize("method", [ta.Saliency, ta.GuidedBackprop, ta.Deconvolution])
@pytest.mark.parametrize("dim", [0, 1])
def test_spellings_inside_of_vmap(spelling: str, method: Any, dim: int) -> None:
    first, second = (seeded(nn.Linear, *size).double() for size in ((6, 9), (9, 3)))

    def forward(x: Tensor, rectify: Callable[[Tensor], Tensor]) -> Tensor:
        one = lambda row: second(rectify(first(row)))  # noqa: E731
        return vmap(one, dim)(x if dim == 0 else x.t())

    expected = method(lambda x: second(torch.relu(first(x)))).attribute(X, target=1)
    found = method(lambda x: forward(x, RECTIFIED[spelling])).attribute(X, target=1)
    assert_same(found, expected, 1e-12)


def test_other_rules_are_refused_inside_of_vmap() -> None:
    model = ensemble(members())
    rules = {"linear": "gradient"}
    with refused(ta.NoRuleMatched, "linear", "torch.func"):
        ta.GuidedBackprop(model, rules=rules, memory="lean").attribute(X, target=1)
    # On PyTorch's own graph, its own gradient needs no rule.
    expected = ta.GuidedBackprop(model).attribute(X, target=1)
    found = ta.GuidedBackprop(model, rules=rules, memory="native").attribute(X, target=1)
    assert_same(found, expected, 1e-12)


def test_a_layer_inside_of_a_transform_is_refused() -> None:
    part = members()[0]
    with refused(LayerError, "torch.func"):
        ta.LayerActivation(lambda x: vmap(part)(x), part[0]).attribute(X)


@pytest.mark.parametrize(
    "pool", [nn.LPPool1d(2, 3), nn.LPPool1d(1.5, 2), nn.LPPool2d(2, (1, 2)), nn.LPPool3d(2, 1)]
)
@pytest.mark.filterwarnings("error", category=TorchattrWarning)
def test_the_rectifier_of_a_pool_is_its_own(pool: nn.Module) -> None:
    lead = {"LPPool1d": (6,), "LPPool2d": (1, 1, 6), "LPPool3d": (1, 1, 1, 6)}[type(pool).__name__]
    first = seeded(nn.Linear, 6, 6).double()

    def forward(x: Tensor) -> Tensor:
        h = torch.relu(first(x)) + 0.1
        return pool(h.view(4, *(lead if len(lead) > 1 else (1, 6)))).flatten(1)

    class Own(torch.autograd.Function):
        """The pool by itself, hidden from everything that replaces rectifiers."""

        @staticmethod
        def forward(ctx: Any, h: Tensor) -> Tensor:
            ctx.save_for_backward(h)
            return pool(h)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            (h,) = ctx.saved_tensors
            with torch.enable_grad():
                leaf = h.detach().requires_grad_()
                norm = pool.norm_type
                windows = leaf.unfold(-1, *(_last(pool.kernel_size),) * 2)
                return torch.autograd.grad(windows.pow(norm).sum(-1).pow(1 / norm), leaf, grad)[0]

    def oracle(x: Tensor) -> Tensor:
        h = torch.relu(first(x)) + 0.1
        return Own.apply(h.view(4, *(lead if len(lead) > 1 else (1, 6)))).flatten(1)

    with rectifiers("guided"):
        wanted = autograd(oracle, X, of_target)
    assert_same(ta.GuidedBackprop(forward).attribute(X, target=1), wanted, 1e-10)
    assert ta.explain(forward, X, ["guided_backprop"], targets=1).coverage.hidden == {}


def _last(size: Any) -> int:
    return size[-1] if isinstance(size, tuple) else size
