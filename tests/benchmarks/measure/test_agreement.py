"""Wrong results get a reason instead of a time. Nothing here is timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from tiny import task
from torch import Tensor, nn

from benchmarks.measure.agreement import difference, judge
from benchmarks.measure.reference import reference
from benchmarks.peers import OURS, PEERS
from benchmarks.peers.base import Library
from benchmarks.tasks import METHODS, Run, Task


class Wrong(Library):
    name = "wrong"

    def __init__(self, result: Callable[[Task], Tensor]) -> None:
        self.result = result

    @property
    def makers(self) -> Mapping[str, Callable[[Task], Run]]:
        return {method: lambda task: lambda: self.result(task) for method in METHODS}


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
