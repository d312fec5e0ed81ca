"""Several targets in one backward, against one backward for each of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torchvision
from helpers import assert_same, noise, seeded
from networks import pictures, vit
from rectified import X, network, of_each_class
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import torchattr as ta
from torchattr.layers import GraphTrace
from torchattr.methods._gradient.rounds import seeds_of, targets_at_once

Shared = list[int]
"""The number of targets of each backward that served several."""


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    counts: Shared = []
    together = GraphTrace.gradients_of_several

    def counted(trace: GraphTrace, output: Tensor, seeds: Tensor, *args: Any, **named: Any) -> Any:
        found = together(trace, output, seeds, *args, **named)
        counts.append(len(seeds))
        return found

    monkeypatch.setattr(GraphTrace, "gradients_of_several", counted)
    # PyTorch replaces what it cannot map by a loop, and says so: no known node may need that.
    torch._C._functorch._set_vmap_fallback_enabled(False)
    yield counts
    torch._C._functorch._set_vmap_fallback_enabled(True)


def one_by_one(attribute: Callable[[Any], Tensor], classes: range) -> Tensor:
    return torch.stack([attribute(one) for one in classes], 1)


CLASSES = range(3)

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "resnet18": (lambda: vision("resnet18"), (2, 3, 32, 32), "layer3"),
    "googlenet": (lambda: vision("googlenet"), (2, 3, 32, 32), "inception4a"),
    "vgg11_bn": (lambda: vision("vgg11_bn"), (2, 3, 32, 32), "features.15"),
    "densenet121": (lambda: vision("densenet121"), (1, 3, 32, 32), "features.transition3"),
    "mobilenet_v2": (lambda: vision("mobilenet_v2"), (2, 3, 32, 32), "features.12"),
    "vit": (vit, (2, 3, 8, 8), "blocks.0"),
}


SLOW = ("vgg11_bn", "mobilenet_v2", "densenet121", "googlenet")


def vision(name: str) -> nn.Module:
    options = {"init_weights": False} if name == "googlenet" else {}
    make = getattr(torchvision.models, name)
    model: nn.Module = seeded(make, weights=None, num_classes=4, **options)
    return model.eval().double()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NETWORKS]
)
def test_all_methods_equal_one_backward_a_target(name: str, shared: Shared) -> None:
    make, shape, layer = NETWORKS[name]
    model, images = make(), pictures(*shape) if name == "vit" else noise(*shape)
    rectified = any(isinstance(part, (nn.ReLU, nn.ReLU6)) for part in model.modules())
    kinds: list[Any] = [
        ta.GradCAM(model, layer, memory="native"),
        ta.Saliency(model, memory="native"),
    ]
    if rectified:
        kinds += [
            ta.GuidedBackprop(model, memory="native"),
            ta.Deconvolution(model, memory="native"),
            ta.GuidedGradCAM(model, layer, memory="native"),
        ]
    for method in kinds:
        before = len(shared)
        found = method.attribute(images, target=ta.Classes(*CLASSES))
        assert len(shared) > before, type(method).__name__
        separate = one_by_one(lambda one, m=method: m.attribute(images, target=one), CLASSES)
        assert_same(found, separate, 1e-12)


@pytest.mark.parametrize("memory", ["lean", "native"])
def test_the_tail_of_a_layer_serves_all_classes(memory: Any, shared: Shared) -> None:
    model = vision("resnet18")
    cam = ta.GradCAM(model, "layer4", memory=memory)
    images = noise(2, 3, 32, 32)
    found = cam.attribute(images, target=ta.Classes(*CLASSES))
    assert shared == [3]
    assert_same(found, one_by_one(lambda one: cam.attribute(images, target=one), CLASSES), 1e-12)


@pytest.mark.parametrize(("fits", "backwards"), [(5, [4]), (3, [3, 1]), (2, [2, 2]), (1, [])])
def test_rounds_are_as_large_as_their_gradients_allow(
    fits: int, backwards: list[int], shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 6 * 5 * 4 * len(X)
    limits = {"cpu": fits * largest + 1, "cuda": 1}
    monkeypatch.setattr("torchattr.methods._gradient.rounds._ELEMENTS", limits)
    model = network()
    found = ta.Saliency(model, memory="native").attribute(X, ta.Classes(range(4)), abs=False)
    assert shared == backwards
    assert_same(found, of_each_class(model), 1e-12)


def test_what_fits_depends_on_the_largest_gradient() -> None:
    few, many = (targets_at_once(size, torch.device("cpu")) for size in (2**18, 2**10))
    assert 1 <= few < many
    assert targets_at_once(2**40, torch.device("cuda")) == 0


class Doubled(torch.autograd.Function):
    """A function of the user's, which must see one gradient at a time."""

    seen: list[Any] = []  # noqa: RUF012

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        Doubled.seen.append(grad.sum().item())
        return 2 * grad


def test_a_function_of_the_users_sees_one_gradient_at_a_time(shared: Shared) -> None:
    tail = network()

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tail

        def forward(self, x: Tensor) -> Any:
            return Doubled.apply(self.net(x))

    found = ta.Saliency(Own().eval()).attribute(X, ta.Classes(range(4)), abs=False)
    assert not shared
    assert_same(found, 2 * of_each_class(tail), 1e-12)


@pytest.mark.parametrize("memory", ["lean", "native"])
def test_a_checkpointed_part_runs_one_target_at_a_time(memory: Any, shared: Shared) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = vision("resnet18")

        def forward(self, x: Tensor) -> Any:
            h = self.net.layer1(self.net.conv1(x))
            h = checkpoint(lambda h: self.net.avgpool(h).tanh().flatten(1), h, use_reentrant=False)
            return h[:, :4] @ torch.eye(4, dtype=h.dtype)

    model = Checkpointed().eval()
    cam = ta.GradCAM(model, "net.layer1", memory=memory)
    images = noise(2, 3, 16, 16)
    found = cam.attribute(images, target=ta.Classes(*CLASSES))
    assert not shared
    assert_same(found, one_by_one(lambda one: cam.attribute(images, target=one), CLASSES), 1e-12)


def test_a_layout_of_the_users_sees_one_target_at_a_time(shared: Shared) -> None:
    model, seen = vision("resnet18"), []

    def layout(values: Tensor) -> Tensor:
        seen.append(values.sum().item())
        return values

    images = noise(2, 3, 32, 32)
    found = ta.GradCAM(model, "layer4", layout=layout).attribute(images, ta.Classes(*CLASSES))
    assert shared
    assert_same(found, ta.GradCAM(model, "layer4").attribute(images, ta.Classes(*CLASSES)), 1e-12)


def test_examples_without_a_gradient_are_named_once() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.net(x)
            return torch.stack([*scores[:-1], scores[-1].detach()])

    saliency = ta.Saliency(Cut().eval(), memory="native")
    with warnings.catch_warnings(record=True) as together:
        warnings.simplefilter("always")
        saliency.attribute(X, ta.Classes(0, 1))
    with warnings.catch_warnings(record=True) as alone:
        warnings.simplefilter("always")
        saliency.attribute(X, 0)
    words = [str(one.message) for one in together]
    assert words == [str(one.message) for one in alone]
    assert any(f"example {len(X) - 1}," in one for one in words)


def test_seeds_are_the_gradients_of_the_scores() -> None:
    output = noise(2, 3, 4).requires_grad_()
    targets: list[Any] = [(1, 2), [(0, 1), (2, 3)]]
    seeds = seeds_of(output.detach(), targets)
    assert seeds is not None
    scores = [output[:, 1, 2], output[[0, 1], [0, 2], [1, 3]]]
    expected = torch.stack([torch.autograd.grad(score.sum(), output)[0] for score in scores])
    assert_same(seeds, expected)
    assert seeds_of(output, [lambda scores: scores[:, 0, 0]]) is None
