"""Backends against the eager sequences."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.cases import fused_operations, kernels
from benchmarks.cases.fused_operations import Relu, ReluBackward, wrong
from benchmarks.settings import Settings
from torchattr.kernels.reference.backend import TorchBackend

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True, networks=("resnet18",))


@pytest.fixture
def tiny_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_operations, "PLANES", (3, 10, 11))


@pytest.mark.usefixtures("tiny_planes")
@pytest.mark.parametrize("memory", kernels.MEMORY)
def test_operations_agree_with_the_eager_ones(memory: str) -> None:
    made = fused_operations.operations(2, QUICK.device, torch.float32, kernels.MEMORY[memory])
    for name, make in made.items():
        operation = make()
        assert operation.name == name
        assert operation.moved > operation.x.nbytes
        assert wrong(operation, TorchBackend()) is None, name


@pytest.mark.parametrize("gate", ["gradient", "guided", "deconvolution"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 0, 2, 1)])
def test_a_mask_is_packed_for_the_layout_of_its_signal(gate: Any, order: tuple[int, ...]) -> None:
    inverse = sorted(range(4), key=order.__getitem__)
    x = torch.randn([[2, 3, 4, 5][axis] for axis in order]).permute(inverse)
    operation = ReluBackward("relu_backward", x, gate)
    assert operation.output.stride() == x.stride()
    assert wrong(operation, TorchBackend()) is None


def test_a_backend_that_is_wrong_gets_no_time() -> None:
    class Bad:
        name = "bad"

        def relu(self, x: torch.Tensor) -> Any:
            output, mask = TorchBackend().relu(x)
            return output, mask ^ 1

    operation = Relu("relu", torch.linspace(-1, 1, 60).view(1, 3, 4, 5))
    assert wrong(operation, Bad()) == "differs by 1 of the largest value"  # type: ignore[arg-type]
