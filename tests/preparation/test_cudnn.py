"""`torch.backends.cudnn.benchmark` is on around the work of prepared models, and only there."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Barrier, Thread
from typing import Any

import pytest
import torch
from foldable import Net, network
from helpers import assert_same, noise
from tape import TapeRecorder
from torch import nn

import torchattr as ta
from torchattr.core.undoing import undone
from torchattr.preparation import Prepared
from torchattr.preparation.cudnn import benchmark_cudnn
from torchattr.preparation.graphs import Graphs

X = noise(2, 3, 14, 14)
CUDNN = torch.backends.cudnn


@pytest.fixture(params=[False, True], autouse=True)
def before(request: pytest.FixtureRequest) -> Iterator[bool]:
    """What the setting was; it has to be that again afterwards."""
    held, CUDNN.benchmark = CUDNN.benchmark, request.param
    yield request.param
    assert CUDNN.benchmark is request.param
    CUDNN.benchmark = held


class Spy(nn.Module):
    """Notes the setting when it runs forward and backward."""

    def __init__(self, seen: list[tuple[str, bool]]) -> None:
        super().__init__()
        self.inner = network(Net)
        self._seen = seen

    def __deepcopy__(self, memo: Any) -> Spy:
        copy = Spy(self._seen)
        copy.inner = self.inner
        return copy.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._seen.append(("forward", CUDNN.benchmark))
        if x.requires_grad:
            x.register_hook(lambda grad: self._seen.append(("backward", CUDNN.benchmark)))
        return self.inner(x)


@pytest.mark.parametrize("wanted", [False, True])
def test_forwards_and_backwards_run_with_it(wanted: bool, before: bool) -> None:
    seen: list[tuple[str, bool]] = []
    fast = ta.prepare(Spy(seen).eval(), X, channels_last=False, cudnn_benchmark=wanted)
    seen.clear()
    found = ta.Saliency(fast).attribute(X, target=0)
    assert set(seen) == {("forward", wanted or before), ("backward", wanted or before)}
    assert CUDNN.benchmark is before
    fast(X)
    assert_same(found, ta.Saliency(network(Net)).attribute(X, target=0), 1e-10)


def test_recording_and_copies_keep_it(before: bool) -> None:
    fast = ta.prepare(network(Net), X, channels_last=False, cudnn_benchmark=True)
    graphed = Prepared(fast._prepared_forward, fast.report, Graphs(TapeRecorder(), 2))
    own = ta.Saliency(network(Net)).attribute(X, target=0)
    assert_same(ta.Saliency(graphed).attribute(X, target=0), own, 1e-10)
    assert fast._prepared_forward.unfolded().configuration.cudnn_benchmark


def test_errors_put_it_back(before: bool) -> None:
    fast = ta.prepare(network(Net), X, channels_last=False, cudnn_benchmark=True)
    with pytest.raises(RuntimeError):
        fast(X[:, :2])
    assert CUDNN.benchmark is before


def test_threads_that_need_it_at_once(before: bool) -> None:
    """The last one to leave puts it back, in whichever order they came."""
    came, first_left = Barrier(2), Barrier(2)
    seen: list[bool] = []

    def leave_first() -> None:
        with undone() as undo:
            benchmark_cudnn(undo, True)
            came.wait(5)
        first_left.wait(5)

    def leave_last() -> None:
        with undone() as undo:
            benchmark_cudnn(undo, True)
            came.wait(5)
            first_left.wait(5)
            seen.append(CUDNN.benchmark)

    threads = [Thread(target=one) for one in (leave_first, leave_last)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True]


def test_undoing_twice_is_undoing_once(before: bool) -> None:
    with undone() as outer:
        benchmark_cudnn(outer, True)
        with undone() as inner:
            benchmark_cudnn(inner, True)
        inner.run()
        assert CUDNN.benchmark is True
