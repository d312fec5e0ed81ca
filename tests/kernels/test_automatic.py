"""Automatically chosen backends: the fastest for each operation, and the next where one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from helpers import assert_same, noise, refused
from picky import Picky, model
from torch import Tensor

import torchattr as ta
from torchattr.core import device_faults
from torchattr.kernels import (
    Backend,
    Order,
    Request,
    TorchBackend,
    Window,
    choose,
    register_backend,
)
from torchattr.kernels.automatic import AutomaticBackend, has_failed
from torchattr.kernels.dispatch import BACKENDS, backend, backends
from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches
from torchattr.kernels.reference.patches import TorchPatches
from torchattr.kernels.speed import SpeedClass, Stopwatch, read_order

X = noise(2, 3, 8, 8)
DOUBLE = Request(torch.device("cpu"), torch.float64)


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
def working_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards that a GPU was lost."""
    monkeypatch.setattr(device_faults, "_reported", [])


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
        found = ta.GuidedBackprop(net, memory="lean").attribute(X, target=1)
    again = ta.GuidedBackprop(net, memory="lean").attribute(X, target=1)
    assert broken.calls.count("pack_mask") == 1
    with backend("torch"):
        right = ta.GuidedBackprop(net, memory="lean").attribute(X, target=1)
    assert_same(found, right)
    assert_same(again, right)
    assert has_failed(broken, "relu")


def test_only_the_operation_that_failed_is_given_up(broken: Broken) -> None:
    taken = choose(DOUBLE, "auto")
    output, grad = X.relu(), -X
    with pytest.warns(ta.errors.BackendWarning, match="'broken' failed in pack_mask"):
        mask = taken.pack_mask(output, (0, 1, 2, 3), None)
    taken.pack_mask(output, (0, 1, 2, 3), None)
    taken.relu_backward(grad, mask, (0, 1, 2, 3), "guided")
    assert broken.calls == ["pack_mask", "relu_backward"]
    assert not has_failed(broken, "relu_backward")


def test_the_next_one_that_is_offered_serves(broken: Broken) -> None:
    second = type("Second", (Picky,), {"name": "second"})
    register_backend(second)
    with pytest.warns(ta.errors.BackendWarning, match="'broken'"):
        choose(DOUBLE, "auto").pack_mask(X, (0, 1, 2, 3), None)
    choose(DOUBLE, "auto").pack_mask(X, (0, 1, 2, 3), None)
    other = backends()["second"]
    assert isinstance(other, Picky)
    assert (broken.calls, other.calls) == (["pack_mask"], ["pack_mask"] * 2)


@pytest.mark.parametrize(
    "reason",
    [
        "CUDA error: misaligned address",
        "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might",
        "the CUDA driver failed in cuLaunchKernel: unspecified launch failure",
    ],
)
@pytest.mark.usefixtures("working_gpu")
def test_a_lost_gpu_is_no_reason_to_try_another(broken: Broken, reason: str) -> None:
    def fail(*_: object) -> None:
        broken.calls.append("pack_mask")
        raise RuntimeError(reason)

    broken.pack_mask = fail  # type: ignore[method-assign,assignment]
    with refused(ta.errors.DeviceLost, "context is lost", reason.splitlines()[0], "estart"):
        choose(DOUBLE, "auto").pack_mask(X, (0, 1, 2, 3), None)
    assert not has_failed(broken, "pack_mask")
    for name in ("auto", "cuda", "torch"):
        with refused(ta.errors.DeviceLost, reason.splitlines()[0], "CUDA_LAUNCH_BLOCKING=1"):
            choose(Request(torch.device("cuda"), torch.float32), name)
    assert broken.calls == ["pack_mask"]


class FakeStopwatch(Stopwatch):
    """Takes the times that it is given, by backend, and counts."""

    def __init__(self, seconds: dict[str, float], memory: bool = True) -> None:
        self.seconds_of, self.memory, self.plain = seconds, memory, True
        self.asked: list[tuple[str, bool]] = []

    def may_measure(self, x: Tensor) -> bool:
        return self.plain

    def has_memory(self) -> bool:
        return self.memory

    def seconds(self, call: Callable[[], Any], of_device: bool) -> float:
        call()
        name = call.args[0].name  # type: ignore[attr-defined]
        self.asked.append((name, of_device))
        return self.seconds_of[name]


class Fast(Picky):
    name: ClassVar[str] = "fast"


class Slow(Picky):
    name: ClassVar[str] = "slow"


ORDER = (0, 1, 2, 3)
LARGE_X = torch.ones(1, 64, 128, 128, dtype=torch.float64)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))


def automatic(stopwatch: FakeStopwatch, *backends: Backend) -> AutomaticBackend:
    return AutomaticBackend(DOUBLE, [*backends, TorchBackend()], stopwatch)


def test_the_fastest_serves_each_operation_and_size() -> None:
    slow, fast = Slow(), Fast()
    stopwatch = FakeStopwatch({"slow": 3.0, "fast": 1.0, "torch": 2.0})
    taken = automatic(stopwatch, slow, fast)
    taken.pack_mask(X, ORDER, None)
    assert stopwatch.asked == [("slow", False), ("fast", False), ("torch", False)]
    stopwatch.seconds_of = {"slow": 1.0, "fast": 3.0, "torch": 2.0}
    taken.pack_mask(LARGE_X, ORDER, None)
    assert stopwatch.asked[3:] == [("slow", True), ("fast", True), ("torch", True)]
    slow.calls.clear()
    fast.calls.clear()
    taken.pack_mask(X, ORDER, None)
    taken.pack_mask(LARGE_X, ORDER, None)
    assert (fast.calls, slow.calls) == (["pack_mask"], ["pack_mask"])
    assert len(stopwatch.asked) == 6, "each kind of call is measured once"


def test_no_backend_is_taken_that_is_slower_than_the_reference() -> None:
    slow = Slow()
    taken = automatic(FakeStopwatch({"slow": 1.01, "torch": 1.0}), slow)
    taken.pack_mask(X, ORDER, None)
    slow.calls.clear()
    taken.pack_mask(X, ORDER, None)
    assert slow.calls == []


def test_another_process_reads_what_was_measured() -> None:
    automatic(FakeStopwatch({"slow": 3.0, "fast": 1.0, "torch": 2.0}), Slow(), Fast()).pack_mask(
        X, ORDER, None
    )
    again, fast = FakeStopwatch({}), Fast()
    automatic(again, Slow(), fast).pack_mask(X, ORDER, None)
    assert (again.asked, fast.calls) == ([], ["pack_mask"])


@pytest.mark.parametrize("limit", ["plain", "memory"])
def test_the_fixed_order_serves_where_nothing_can_be_measured(limit: str) -> None:
    stopwatch, slow = FakeStopwatch({"slow": 3.0, "torch": 2.0}), Slow()
    setattr(stopwatch, limit, False)
    taken = automatic(stopwatch, slow)
    taken.pack_mask(X, ORDER, None)
    assert (stopwatch.asked, slow.calls) == ([], ["pack_mask"])


def test_one_that_fails_while_it_is_measured_is_given_up(broken: Broken) -> None:
    stopwatch = FakeStopwatch({"fast": 1.0, "torch": 2.0})
    fast = Fast()
    with pytest.warns(ta.errors.BackendWarning, match="'broken' failed in pack_mask"):
        automatic(stopwatch, broken, fast).pack_mask(X, ORDER, None)
    assert has_failed(broken, "pack_mask")
    assert fast.calls == ["pack_mask"] * 2
    # It is not stored: another process may be able to use it.
    assert (
        read_order(SpeedClass("pack_mask", False, False, False), DOUBLE, ["broken", "fast"]) is None
    )


def test_memory_that_runs_out_while_measuring_leaves_the_fixed_order() -> None:
    class Full(FakeStopwatch):
        def seconds(self, call: Callable[[], Any], of_device: bool) -> float:
            raise torch.OutOfMemoryError("out of memory")

    slow = Slow()
    automatic(Full({}), slow).pack_mask(X, ORDER, None)
    assert slow.calls == ["pack_mask"]
    assert not has_failed(slow, "pack_mask")


def test_results_are_those_of_the_reference_whatever_serves() -> None:
    taken = automatic(FakeStopwatch({"slow": 1.0, "torch": 2.0}), Slow())
    window = Window((2, 2), (2, 2), (0, 0), (1, 1))
    values, switches = taken.max_pool(X, window)
    right, right_switches = TorchBackend().max_pool(X, window)
    assert_same(values, right)
    assert torch.equal(switches, right_switches)


def test_one_that_was_asked_for_fails_aloud(broken: Broken) -> None:
    with backend("broken"), pytest.raises(RuntimeError, match="does not compile"):
        ta.GuidedBackprop(model().double()).attribute(X, target=1)
    assert not has_failed(broken, "relu")


def test_wrong_arguments_and_full_memory_are_no_failure(broken: Broken) -> None:
    taken = choose(DOUBLE, "auto")
    with pytest.raises(AttributeError):
        taken.pack_mask("no tensor", (0,), None)  # type: ignore[arg-type]
    assert not has_failed(broken, "pack_mask")
    broken.pack_mask = lambda *_: (_ for _ in ()).throw(MemoryError())  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        taken.pack_mask(X, (0, 1, 2, 3), None)
    assert not has_failed(broken, "pack_mask")


def test_ablation_goes_on_where_a_backend_fails(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broken, "patches", Failing(), raising=False)
    net = model().double()
    options = {"sliding_window_shapes": (3, 3, 3), "strides": (3, 2, 2), "target": 1}
    with pytest.warns(ta.errors.BackendWarning, match="convolve"):
        found = ta.Occlusion(net).attribute(X, incremental=True, **options)
    assert_same(found, ta.Occlusion(net).attribute(X, incremental=False, **options), 1e-9)
