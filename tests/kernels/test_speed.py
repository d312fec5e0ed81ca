"""Samples, ties, and the stored order of backends."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch

from torchattr.kernels import Request, TorchBackend, Window
from torchattr.kernels.speed import (
    LARGE,
    MEASURED,
    OVERLAPPING,
    POOLS,
    SEPARATE,
    GpuStopwatch,
    SpeedClass,
    by_speed,
    read_order,
    sample,
    store_order,
)

REQUEST = Request(torch.device("cpu"), torch.float32)
KIND = SpeedClass("relu", False, False, False)


@pytest.mark.parametrize("operation", MEASURED)
def test_a_sample_is_of_its_kind(operation: str) -> None:
    heard = []

    class Listening:
        def __getattr__(self, name: str):
            return lambda *args: heard.append((name, args))

    for last, overlaps in product((False, True), repeat=2):
        kind = SpeedClass(operation, False, last, overlaps and operation in POOLS)
        call = sample(kind, REQUEST)
        call(Listening())  # type: ignore[arg-type]
        name, args = heard.pop()
        assert SpeedClass.of(name, args, {}) == kind
        call(TorchBackend())


def test_the_large_sample_is_large_and_the_small_one_is_not() -> None:
    heard = []

    class Listening:
        def relu(self, x: torch.Tensor) -> None:
            heard.append(x.nbytes)

    for is_large in (False, True):
        sample(KIND._replace(is_large=is_large), REQUEST)(Listening())  # type: ignore[arg-type]
    assert heard[0] < LARGE <= heard[1]


def test_kinds() -> None:
    x = torch.ones(2, 8, 4, 4)
    last = x.contiguous(memory_format=torch.channels_last)
    assert SpeedClass.of("relu", (x, None), {}) == KIND
    assert SpeedClass.of("relu", (last,), {}).has_channels_last
    assert not SpeedClass.of("max_pool", (x, SEPARATE), {}).overlaps
    assert SpeedClass.of("max_pool", (x,), {"window": OVERLAPPING}).overlaps
    assert SpeedClass.of("relu", (torch.empty(LARGE // 4),), {}).is_large
    assert SpeedClass.of("max_pool", (x, Window((3,), (1,), (0,), (1,))), {}).overlaps


def test_ties_are_decided_by_the_fixed_order() -> None:
    assert by_speed({"a": 1.04, "b": 1.0, "torch": 2.0}, 2.0) == ["a", "b", "torch"]
    assert by_speed({"a": 1.06, "b": 1.0, "torch": 2.0}, 2.0) == ["b", "a", "torch"]
    assert by_speed({"a": 1.04, "b": 3.0, "torch": 1.0}, 1.0) == ["torch", "a", "b"]
    assert by_speed({"a": 1.0, "b": 2.0}, 0.0) == ["a", "b"], "the reference failed"


def test_an_order_is_stored_for_the_same_backends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert read_order(KIND, REQUEST, ["a", "b"]) is None
    store_order(KIND, REQUEST, ["a", "b"], ["b", "a"])
    assert read_order(KIND, REQUEST, ["a", "b"]) == ["b", "a"]
    assert read_order(KIND, REQUEST, ["a", "c"]) is None
    assert read_order(KIND, Request(REQUEST.device, torch.float16), ["a", "b"]) is None
    store_order(KIND, REQUEST, ["a", "b"], ["c"])
    assert read_order(KIND, REQUEST, ["a", "b"]) is None, "it names other backends"


def test_nothing_is_measured_on_what_stands_for_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    stopwatch, x = GpuStopwatch(torch.device("cuda")), torch.ones(2)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert stopwatch.may_measure(x)
    assert not stopwatch.may_measure(torch.nn.Parameter(x))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not stopwatch.may_measure(x)
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert not stopwatch.may_measure(x)
