"""Which backend serves a call, and what one that cannot says."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.kernels import Backend, Gate, Order, Request, TorchBackend, Window
from torchattr.kernels import choose as choose_function
from torchattr.kernels.dispatch import backend, backends, requested_backend
from torchattr.kernels.fallback import has_failed

REQUEST = Request(torch.device("cpu"), torch.float32)
TORCH = TorchBackend()


class Picky(Backend):
    """Serves float64 only, and counts its calls."""

    name: ClassVar[str] = "picky"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def refusals(self, request: Request) -> list[str]:
        reasons = []
        if request.dtype != torch.float64:
            reasons.append(f"{request.dtype} is too coarse")
        if request.device.type != "cpu":
            reasons.append("it runs on the CPU only")
        return reasons

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        self.calls.append("pack_mask")
        return TORCH.pack_mask(output, order, upper)

    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        self.calls.append("relu_backward")
        return TORCH.relu_backward(grad, mask, order, gate, overwrite)

    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        self.calls.append("pack_switches")
        return TORCH.pack_switches(indices, output, input_shape, window)

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        self.calls.append("unpool")
        return TORCH.unpool(grad, switches, input_shape, window)


class Point:
    """An entry point of an installed package."""

    def __init__(self, kind: type[Backend]) -> None:
        self._kind = kind

    def load(self) -> type[Backend]:
        return self._kind


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> Iterator[Picky]:
    # The package has a function of the module's name.
    module = sys.modules["torchattr.kernels.dispatch"]
    monkeypatch.setattr(module, "entry_points", lambda group: [Point(Picky)])
    backends.cache_clear()
    found = backends()["picky"]
    assert isinstance(found, Picky)
    yield found
    backends.cache_clear()


X = noise(2, 3, 8, 8)


def model() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3)),
        )
    )


def test_the_reference_is_there_and_last() -> None:
    assert list(backends())[-1] == "torch"
    assert isinstance(backends()["torch"], TorchBackend)


@pytest.mark.usefixtures("picky")
def test_an_unnamed_choice_falls_through() -> None:
    coarse = Request(torch.device("cpu"), torch.float16)
    assert choose_function(coarse, "auto").name == "torch"
    assert choose_function(Request(torch.device("cpu"), torch.float64), "auto").name == "picky"


@pytest.mark.usefixtures("picky")
def test_one_asked_for_by_name_gives_every_reason() -> None:
    coarse = Request(torch.device("cuda"), torch.float16)
    reasons = ("'picky'", "torch.float16 is too coarse", "CPU only", "'auto'")
    with refused(ta.BackendError, *reasons):
        choose_function(coarse, "picky")
    with backend("picky"), refused(ta.BackendError, "torch.float32 is too coarse"):
        ta.GuidedBackprop(model()).attribute(X.float(), target=1)


def test_an_installed_backend_does_the_work(picky: Picky) -> None:
    net = model().double()
    result = ta.GuidedBackprop(net).attribute(X, target=1)
    forward = ["pack_mask", "pack_switches", "pack_mask"]
    # The pool gates for the rectifier before it, whose windows do not overlap.
    assert picky.calls == [*forward, "relu_backward", "unpool"]
    with backend("torch"):
        assert_same(result, ta.GuidedBackprop(net).attribute(X, target=1))
    assert len(picky.calls) == 5


def test_unknown_names_are_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with refused(ta.BackendError, "'cudnn'", "auto", "torch"), backend("cudnn"):
        pass
    monkeypatch.setenv("TORCHATTR_BACKEND", "cudnn")
    with refused(ta.BackendError, "'cudnn'"):
        ta.Saliency(model()).attribute(X.float(), target=1)


def test_the_environment_asks_and_a_block_overrules_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert requested_backend() == "auto"
    monkeypatch.setenv("TORCHATTR_BACKEND", "torch")
    assert requested_backend() == "torch"
    with backend("auto"):
        assert requested_backend() == "auto"
        with backend("torch"):
            assert requested_backend() == "torch"
        assert requested_backend() == "auto"
    assert requested_backend() == "torch"
    monkeypatch.setenv("TORCHATTR_BACKEND", "")
    assert requested_backend() == "auto"


def test_a_block_ends_after_an_error() -> None:
    def fail() -> None:
        with backend("torch"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert requested_backend() == "auto"


class Broken(Picky):
    """Fails where it is run, whatever it said before."""

    name: ClassVar[str] = "broken"

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        self.calls.append("pack_mask")
        raise RuntimeError("the kernel does not compile")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broken]:
    module = sys.modules["torchattr.kernels.dispatch"]
    monkeypatch.setattr(module, "entry_points", lambda group: [Point(Broken)])
    backends.cache_clear()
    found = backends()["broken"]
    assert isinstance(found, Broken)
    yield found
    backends.cache_clear()


def test_one_that_fails_when_nobody_asked_for_it_is_replaced_and_said_once(broken: Broken) -> None:
    net = model().double()
    with pytest.warns(ta.errors.BackendWarning, match="'broken' fails in relu .*compile"):
        found = ta.GuidedBackprop(net).attribute(X, target=1)
    again = ta.GuidedBackprop(net).attribute(X, target=1)
    assert broken.calls == ["pack_mask"]
    with backend("torch"):
        right = ta.GuidedBackprop(net).attribute(X, target=1)
    assert_same(found, right)
    assert_same(again, right)
    assert choose_function(Request(torch.device("cpu"), torch.float64), "auto").name == "torch"


def test_one_that_was_asked_for_fails_aloud(broken: Broken) -> None:
    with backend("broken"), pytest.raises(RuntimeError, match="does not compile"):
        ta.GuidedBackprop(model().double()).attribute(X, target=1)
    assert not has_failed(broken)


def test_wrong_arguments_and_full_memory_are_no_failure(broken: Broken) -> None:
    taken = choose_function(Request(torch.device("cpu"), torch.float64), "auto")
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
    def fails(*_: object) -> Tensor:
        raise RuntimeError("the kernel does not compile")

    monkeypatch.setattr(Broken, "convolve", fails)
    net = model().double()
    options = {"sliding_window_shapes": (3, 3, 3), "strides": (3, 2, 2), "target": 1}
    with pytest.warns(ta.errors.BackendWarning, match="convolve"):
        found = ta.Occlusion(net).attribute(X, incremental=True, **options)
    assert_same(found, ta.Occlusion(net).attribute(X, incremental=False, **options), 1e-9)
