"""The running module is known in its own thread only, and no hook stays on the model."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattr.core.select import layer_names
from torchattr.inspect.recording.module_stack import ModuleStack


class Noting(nn.Module):
    """Records the name of the current module during its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: ModuleStack | None = None
        self.seen: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        assert self.paths is not None
        self.seen.append(self.paths.current)
        return x + 1


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ArithmeticError("no")


class Catching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bad = nn.Sequential(Failing())
        self.good = Noting()

    def forward(self, x: Tensor) -> Tensor:
        try:
            return self.bad(x)
        except ArithmeticError:
            return self.good(x)


def hooks(model: nn.Module) -> list[Any]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called")
    return [hook for part in model.modules() for kind in kinds for hook in getattr(part, kind)]


def test_the_innermost_module_is_known_and_outputs_are_given() -> None:
    inner = Noting()
    model = nn.Sequential(nn.Sequential(nn.Identity(), inner), inner)
    given: list[tuple[str, float]] = []
    paths = ModuleStack(
        layer_names(model), lambda name, output: given.append((name, output.item()))
    )
    inner.paths = paths
    with paths.following():
        assert hooks(model)
        model(torch.zeros(()))
        assert paths.current == ""
    assert inner.seen == ["0.1", "0.1"]
    assert given == [("0.0", 0), ("0.1", 1), ("0", 1), ("0.1", 2)]
    assert not hooks(model)


def test_a_module_that_raises_is_left() -> None:
    model = Catching()
    given: list[str] = []
    paths = ModuleStack(layer_names(model), lambda name, output: given.append(name))
    model.good.paths = paths
    with paths.following():
        model(torch.zeros(()))
    assert model.good.seen == ["good"]
    assert given == ["good"]
    with pytest.raises(ArithmeticError), paths.following():
        model.bad(torch.zeros(()))
    assert not hooks(model)


def test_another_thread_passes_by() -> None:
    model = nn.Sequential(nn.ReLU())
    given: list[str] = []
    with ModuleStack(layer_names(model), lambda name, output: given.append(name)).following():
        other = Thread(target=model, args=(torch.zeros(1),))
        other.start()
        other.join()
        assert given == []
        model(torch.zeros(1))
    assert given == ["0"]
