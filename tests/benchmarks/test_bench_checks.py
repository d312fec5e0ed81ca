"""What is wrong gets the reason instead of a time. Nothing here is timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

from benchmarks.agreement import difference, judge
from benchmarks.peers import OURS, PEERS
from benchmarks.peers.base import Library
from benchmarks.reference import back_projection, gradient, reference
from benchmarks.tasks import METHODS, Run, Task


class Net(nn.Module):
    """Two ReLUs, modules or functions."""

    def __init__(self, functional: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3)
        self.relu: Callable[[Tensor], Tensor] = F.relu if functional else nn.ReLU()
        self.head = nn.Linear(8, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.second(self.relu(self.first(x)))).mean((2, 3)))


def task(method: str, functional: bool = False, images: int = 2) -> Task:
    model = seeded(Net, functional, seed=3).double()
    return Task(method, model, noise(images, 3, 12, 12), "second", 1)


class Wrong(Library):
    name = "wrong"

    def __init__(self, result: Callable[[Task], Tensor]) -> None:
        self.result = result

    @property
    def makers(self) -> Mapping[str, Callable[[Task], Run]]:
        return {method: lambda task: lambda: self.result(task) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("library", [OURS, *PEERS], ids=lambda one: one.name)
def test_every_library_is_right_on_modules(library: Library, method: str) -> None:
    if method not in library.makers:
        assert library is not OURS
        return
    verdict = judge(library, task(method))
    assert verdict.wrong is None
    assert verdict.difference is not None


@pytest.mark.parametrize("name", ["captum", "grad-cam", "zennit"])
def test_peers_do_not_see_a_functional_relu(name: str) -> None:
    (library,) = (peer for peer in PEERS if peer.name == name)
    assert judge(library, task("GuidedBackprop", True)).wrong == "gives the plain gradient"
    assert judge(OURS, task("GuidedBackprop", True)).wrong is None


def test_a_result_a_little_off_is_wrong() -> None:
    off = Wrong(lambda task: reference(task) * (1 + 1e-6))
    assert judge(off, task("Saliency")).wrong == "wrong by 1e-06 of the largest value"


def test_nan_is_wrong() -> None:
    verdict = judge(Wrong(lambda task: reference(task) * torch.nan), task("Saliency"))
    assert verdict.wrong == "wrong by inf of the largest value"


def test_another_shape_is_wrong() -> None:
    verdict = judge(Wrong(lambda task: reference(task)[:1]), task("Saliency"))
    assert verdict.wrong == "gives (1, 3, 12, 12) instead of (2, 3, 12, 12)"


def test_an_error_is_a_reason() -> None:
    def fail(task: Task) -> Tensor:
        raise RuntimeError("no such layer. And more")

    assert judge(Wrong(fail), task("Saliency")).wrong == "raises RuntimeError: no such layer"


def test_zeros_prove_nothing() -> None:
    with pytest.raises(ValueError, match="nothing is compared"):
        difference(torch.zeros(2), torch.zeros(2))


def test_the_model_of_the_task_is_not_changed() -> None:
    given = task("GuidedBackprop")
    for library in (OURS, *PEERS):
        if "GuidedBackprop" in library.makers:
            judge(library, given)
    assert isinstance(given.model.relu, nn.ReLU)
    assert all(p.requires_grad and p.grad is None for p in given.model.parameters())


def test_one_image_at_a_time() -> None:
    (library,) = (peer for peer in PEERS if peer.name == "grad-cam")
    assert library.refusal("GuidedBackprop", 8) == "one image at a time"
    assert library.refusal("GuidedBackprop", 1) is None
    assert library.refusal("GradCAM", 8) is None


def test_reference_of_the_plain_gradient_is_autograds() -> None:
    given = task("Saliency")
    leaf = given.images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(given.model(leaf)[:, 1].sum(), leaf)
    assert_same(gradient(given), grad)


def test_reference_of_grad_cam_does_not_mind_in_place() -> None:
    given = task("GradCAM")
    model = given.on_own_model().model
    model.relu = nn.ReLU(inplace=True)
    assert_same(reference(replace(given, model=model)), reference(given))


def test_reference_of_ablation_is_constant_on_each_cell() -> None:
    given = task("FeatureAblation")
    assert given.grid.unique().tolist() == list(range(9))
    found = reference(given)
    for cell in range(9):
        inside = found[:, :, given.grid[0, 0] == cell]
        assert (inside == inside[:, :1, :1]).all()


def test_reference_of_a_back_projection_starts_where_asked() -> None:
    given = task("", images=1)
    whole, largest = (back_projection(given, "second", [2], start)[0] for start in ("map", "max"))
    assert (whole != 0).sum() > (largest != 0).sum() > 0
