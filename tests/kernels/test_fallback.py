"""A backend that fails after it was chosen automatically."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from helpers import assert_same, noise
from picky import Picky, model
from torch import Tensor

import torchattr as ta
from torchattr.kernels import (
    Order,
    Request,
    choose,
    register_backend,
)
from torchattr.kernels.dispatch import BACKENDS, backend, backends
from torchattr.kernels.fallback import has_failed
from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches
from torchattr.kernels.reference.patches import TorchPatches

X = noise(2, 3, 8, 8)


class Failing(TorchPatches):
    """Operations on patches of which one fails."""

    name: ClassVar[str] = "broken"

    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue) -> Tensor:
        raise RuntimeError("the kernel does not compile")


class Broken(Picky):
    """Fails when it runs, although it refused nothing."""

    name: ClassVar[str] = "broken"

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        self.calls.append("pack_mask")
        raise RuntimeError("the kernel does not compile")


@pytest.fixture
def broken() -> Iterator[Broken]:
    with BACKENDS.temporary():
        # Another class for each test: whether it has failed is remembered in the process.
        register_backend(type("Broken", (Broken,), {}))
        added = backends()["broken"]
        assert isinstance(added, Broken)
        yield added


def test_one_that_fails_when_nobody_asked_for_it_is_replaced_and_said_once(broken: Broken) -> None:
    net = model().double()
    with pytest.warns(ta.errors.BackendWarning, match="'broken' failed in relu .*compile"):
        found = ta.GuidedBackprop(net).attribute(X, target=1)
    again = ta.GuidedBackprop(net).attribute(X, target=1)
    assert broken.calls == ["pack_mask"]
    with backend("torch"):
        right = ta.GuidedBackprop(net).attribute(X, target=1)
    assert_same(found, right)
    assert_same(again, right)
    assert choose(Request(torch.device("cpu"), torch.float64), "auto").name == "torch"


def test_one_that_was_asked_for_fails_aloud(broken: Broken) -> None:
    with backend("broken"), pytest.raises(RuntimeError, match="does not compile"):
        ta.GuidedBackprop(model().double()).attribute(X, target=1)
    assert not has_failed(broken)


def test_wrong_arguments_and_full_memory_are_no_failure(broken: Broken) -> None:
    taken = choose(Request(torch.device("cpu"), torch.float64), "auto")
    with pytest.raises(AttributeError):
        taken.pack_mask("no tensor", (0,), None)  # type: ignore[arg-type]
    assert not has_failed(broken)
    broken.pack_mask = lambda *_: (_ for _ in ()).throw(MemoryError())  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        taken.pack_mask(X, (0, 1, 2, 3), None)
    assert not has_failed(broken)


def test_ablation_goes_on_where_a_backend_fails(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broken, "patches", Failing(), raising=False)
    net = model().double()
    options = {"sliding_window_shapes": (3, 3, 3), "strides": (3, 2, 2), "target": 1}
    with pytest.warns(ta.errors.BackendWarning, match="convolve"):
        found = ta.Occlusion(net).attribute(X, incremental=True, **options)
    assert_same(found, ta.Occlusion(net).attribute(X, incremental=False, **options), 1e-9)
