"""One method object in several threads, each with its own layer and target."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from helpers import noise, seeded
from networks import Net
from torch import Tensor, nn

import torchattr as ta

THREADS = 8
X = noise(2, 3, 8, 8)

pytestmark = pytest.mark.filterwarnings("ignore::torchattr.LayerChoiceWarning")


def towers() -> nn.Module:
    """A model whose second argument chooses the tower, and so its last spatial layer."""

    def run(net: Any, x: Tensor, tower: int) -> Tensor:
        # Each tower has its own width, so that a map of another one has a different shape.
        features: Tensor = net.towers[tower](x)
        return net.head(features.mean((2, 3)).repeat(1, 3)[:, :6])

    def tower(number: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, number + 2, 3, padding=number), nn.ReLU())

    return seeded(
        lambda: Net(
            run,
            towers=nn.ModuleList(map(tower, range(THREADS))),
            head=nn.Linear(6, THREADS),
        )
    )


def occluded(method: Any, target: Any, tower: int) -> Any:
    return method.attribute(X, (3, 4, 4), (3, 2, 2), 0, target, tower, incremental=True)


def attributed(method: Any, target: Any, tower: int) -> Any:
    return method.attribute(X, target=target, additional_forward_args=tower)


def activated(method: Any, target: Any, tower: int) -> Any:
    return method.attribute(X, tower)


METHODS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any, int], Any]]] = {
    "GradCAM": (ta.GradCAM, attributed),
    "GuidedGradCAM": (ta.GuidedGradCAM, attributed),
    "Saliency": (ta.Saliency, attributed),
    "GuidedBackprop": (ta.GuidedBackprop, attributed),
    "LRP": (ta.LRP, attributed),
    "AttnLRP": (ta.AttnLRP, attributed),
    "LibraGrad": (ta.LibraGrad, attributed),
    "Occlusion": (ta.Occlusion, occluded),
    "LayerActivation": (ta.LayerActivation, activated),
}


def by_class(number: int) -> Any:
    return number


def by_neuron(number: int) -> Any:
    """A neuron of the layer that this thread's tower ends with."""
    return ta.Neuron(f"towers.{number}.0", (number, slice(None), slice(None)))


CASES = [(name, by_class) for name in METHODS] + [
    (name, by_neuron) for name in ("Saliency", "GuidedBackprop", "Occlusion")
]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_threads_get_the_serial_results(name: str, target: Callable[[int], Any]) -> None:
    make, run = METHODS[name]
    model = towers()
    expected = [run(make(model), target(number), number) for number in range(THREADS)]
    method, together = make(model), Barrier(THREADS)

    def ask(number: int) -> Any:
        together.wait()
        return [run(method, target(number), number) for _ in range(3)]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(ask, range(THREADS)))
    for results, wanted in zip(found, expected, strict=True):
        assert wanted.any()
        assert all(torch.equal(result, wanted) for result in results)


@pytest.mark.parametrize("name", ["GradCAM", "LayerActivation"])
def test_each_call_finds_its_layer_anew(name: str) -> None:
    make, run = METHODS[name]
    method = make(towers())
    shapes = [tuple(run(method, 1, number).shape[2:]) for number in (1, 3, 0, 1)]
    assert shapes == [(8, 8), (12, 12), (6, 6), (8, 8)]


@pytest.mark.parametrize("name", METHODS)
def test_a_call_leaves_nothing_on_the_object(name: str) -> None:
    make, run = METHODS[name]
    method = make(towers())
    before = {key: id(value) for key, value in vars(method).items()}
    run(method, 1, 2)
    assert {key: id(value) for key, value in vars(method).items()} == before
