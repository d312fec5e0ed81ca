"""Models that compute gradients inside their forward: their own output, and whole copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, reported, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.inputs import Inputs
from torchattr.methods import tape_recorder
from torchattr.methods._perturbation.memory_budget import Footprint
from torchattr.methods._perturbation.scores import TargetScores

NET = seeded(
    lambda: nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.Softplus(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(64, 3),),
    ).double()
)


def energy(x: Tensor) -> Tensor:
    return NET(x).square().sum()


def autograd(x: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        return torch.autograd.grad(energy(leaf), leaf)[0].flatten(1)[:, :5]


def with_graph(x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x if x.requires_grad else x.clone().requires_grad_()
        return torch.autograd.grad(energy(x), x, create_graph=True)[0].flatten(1)[:, :5]


def double_backward(x: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(energy(leaf), leaf, create_graph=True)
        return torch.autograd.grad(first.square().sum(), leaf)[0].flatten(1)[:, :5]


def of_weights(x: Tensor) -> Tensor:
    with torch.enable_grad():
        grads = torch.autograd.grad(energy(x), tuple(NET.parameters()), allow_unused=True)
    found = sum(0.0 if one is None else float(one.sum()) for one in grads)
    return NET(x) * found


def by_functional(x: Tensor) -> Tensor:
    return torch.func.grad(energy)(x).flatten(1)[:, :5]


def by_vjp(x: Tensor) -> Tensor:
    found, back = torch.func.vjp(NET, x)
    return torch.cat([found, back(torch.ones_like(found))[0].flatten(1)[:, :2]], dim=1)


def by_jacobian(x: Tensor) -> Tensor:
    each = torch.func.vmap(torch.func.jacrev(lambda one: NET(one[None])[0]))
    return each(x).flatten(1)[:, ::50]


def after_layers(x: Tensor) -> Tensor:
    h = NET[0](x)
    return torch.func.grad(lambda h: NET[1:](h).square().sum())(h).flatten(1)[:, :5]


def mapped(x: Tensor) -> Tensor:
    return torch.func.vmap(lambda one: NET(one[None])[0])(x)


MODELS: dict[str, Callable[[Tensor], Tensor]] = {
    one.__name__: one
    for one in (
        *(autograd, with_graph, double_backward, by_functional, by_vjp, by_jacobian),
        *(after_layers, mapped),
    )
}
WINDOW: dict[str, Any] = {"sliding_window_shapes": (3, 4, 4), "strides": (3, 2, 2)}


def pictures() -> Tensor:
    return noise(2, 3, 8, 8)


@pytest.mark.parametrize("recording", [True, False])
@pytest.mark.parametrize("name", [*MODELS, "of_weights"])
def test_being_watched_does_not_change_what_a_model_gives(name: str, recording: bool) -> None:
    model = MODELS.get(name, of_weights)
    with torch.no_grad():
        right = model(pictures()).detach()
    inputs = Inputs((pictures(),), False)
    through = tape_recorder(inputs).around if recording else None
    scores = TargetScores(model, inputs, ta.Classes(0, 2), [], through=through)
    assert not scores.clean.requires_grad
    assert_same(scores.clean, right[:, [0, 2]])


@pytest.mark.parametrize("incremental", [True, False, "auto"])
@pytest.mark.parametrize("name", MODELS)
def test_ablation_is_that_of_a_loop(name: str, incremental: Any) -> None:
    model, x = MODELS[name], pictures()
    mask = torch.arange(8)[:, None] // 4 * 2 + torch.arange(8) // 4
    found = ta.FeatureAblation(model).attribute(
        x, target=1, feature_mask=mask, incremental=incremental
    )
    clean = model(x).detach()[:, 1]
    right = torch.zeros_like(x)
    for feature in range(4):
        chosen = (mask == feature).expand_as(x)
        change = clean - model(torch.where(chosen, 0.0, x)).detach()[:, 1]
        right[chosen] = change[:, None, None, None].expand_as(x)[chosen]
    assert not found.requires_grad
    assert_same(found, right, 1e-9)


def test_gradients_of_weights_cannot_be_followed() -> None:
    occlusion = ta.Occlusion(of_weights)
    right = occlusion.attribute(pictures()[:1], target=1, incremental=False, **WINDOW)
    found, report = reported(occlusion, pictures()[:1], target=1, incremental=True, **WINDOW)
    assert report.followed == 0
    assert "gradients inside its forward" in str(report)
    assert found.shape == right.shape


def test_masks_at_random() -> None:
    found = ta.RISE(autograd).attribute(pictures(), target=1, n_masks=8)
    assert found.isfinite().all()


class Own(Tensor):
    """A tensor subclass without a known size."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.numel, Tensor.element_size, Tensor.nbytes.__get__):
            raise RuntimeError("no size")
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x.as_subclass(Own) * 2,
        lambda x: x.to_sparse().coalesce(),
        lambda x: torch.func.vmap(lambda one: one.exp() * x.sum())(x),
        lambda x: torch.nested.nested_tensor([x[0], x[1, :2]]),
        lambda x: torch.func.grad(lambda one: one.square().sum())(x),
    ],
    ids=["own", "sparse", "vmap", "nested", "grad"],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_does_not_tell_its_size_is_not_counted(run: Callable[[Tensor], Any]) -> None:
    footprint = Footprint()
    with footprint:
        run(pictures())
        pictures().relu()
    assert footprint.largest >= pictures().nbytes
