"""Record work on tensors once and replay it in one call: CUDA graphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
K = TypeVar("K")


class GraphRecorder(ABC):
    """Records what a function does with tensors, so that one call repeats it."""

    failures: ClassVar[tuple[type[Exception], ...]] = (RuntimeError,)
    """Raised by `record` where something cannot be recorded."""

    @abstractmethod
    def refusal(self, inputs: Sequence[Tensor]) -> str | None:
        """Return why work on these inputs cannot be recorded; `None` if it can."""

    @abstractmethod
    def record(self, run: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """Return the result of `run`, and a function that repeats its work on the same memory.

        The result holds values only after the first replay.
        """

    @abstractmethod
    def finish(self) -> None:
        """Make later replays wait for reads of the last results."""


def replays(
    runs: Mapping[K, Callable[[], Any]], recorder: GraphRecorder
) -> dict[K, Callable[[], Any]]:
    """Return replays of runs, or the runs themselves if any of them cannot be recorded."""
    try:
        return {name: recorder.record(run)[1] for name, run in runs.items()}
    except recorder.failures:
        return dict(runs)


class CudaRecorder(GraphRecorder):
    """Records CUDA graphs on one device.

    All graphs share a memory pool. They are recorded and replayed on one private stream, so that
    no two run at once, whichever streams their callers use.
    """

    WARM_UP: ClassVar[int] = 3

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = None
        self._pool: Any = None

    def refusal(self, inputs: Sequence[Tensor]) -> str | None:
        if any(tensor.device != self._device for tensor in inputs):
            return f"the inputs are not all on {self._device}"
        if torch.cuda.is_current_stream_capturing():
            return "the caller is recording a graph itself"
        return None

    def record(self, run: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)
            self._pool = torch.cuda.graph_pool_handle()
        self._warm_up(run)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            result = run()
        return result, lambda: self._replay(graph)

    def finish(self) -> None:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def _warm_up(self, run: Callable[[], Any]) -> None:
        """Run a few times: libraries initialise and choose algorithms in the first calls."""
        self.finish()
        with torch.cuda.stream(self._stream):
            for _ in range(self.WARM_UP):
                run()
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def _replay(self, graph: Any) -> None:
        self.finish()
        with torch.cuda.stream(self._stream):
            graph.replay()
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def __getstate__(self) -> dict[str, Any]:
        return {"_device": self._device, "_stream": None, "_pool": None}
