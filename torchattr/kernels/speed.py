"""The order of backends for an operation on a GPU: by measured speed, once per device."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchattr.core.cache_dir import cache_folder, put_in_place, read_whole
from torchattr.core.device_faults import is_lost, is_out_of_memory
from torchattr.core.versions import versions
from torchattr.kernels.api import Backend, Request
from torchattr.kernels.layout import Window, channels_last, empty_in, order_of
from torchattr.kernels.reference.backend import TorchBackend

LARGE = 2**23
"""Bytes from which on an operation's time is that of its memory, not of its launch."""

SAMPLE_BYTES = {False: 2**18, True: 2**25}
"""The sizes of the small and the large sample."""

FREE = 2**29
"""Free bytes of a device below which nothing is measured on it."""

CHANNELS = 64

TIE = 1.05
"""Up to this ratio of times, the fixed order decides."""

POOLS = ("max_pool", "unpool", "unpool_gated")
MEASURED = (
    *("pack_mask", "relu", "relu_backward", "batch_norm_relu", "batch_norm_relu_backward"),
    *POOLS,
)
"""Operations that backends implement differently."""

SEPARATE = Window((2, 2), (2, 2), (0, 0), (1, 1))
OVERLAPPING = Window((3, 3), (2, 2), (1, 1), (1, 1))


class SpeedClass(NamedTuple):
    """Calls whose fastest backend is the same."""

    operation: str
    is_large: bool
    has_channels_last: bool
    overlaps: bool

    @classmethod
    def of(cls, operation: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> SpeedClass:
        """Return the kind of a call."""
        x: Tensor = args[0]
        is_large = x.numel() * x.element_size() >= LARGE
        if operation not in POOLS:
            return cls(operation, is_large, not x.is_contiguous(), False)
        given = (*args, *kwargs.values())
        overlaps = any(arg.overlaps for arg in given if isinstance(arg, Window))
        return cls(operation, is_large, not x.is_contiguous(), overlaps)


Call = Callable[[Backend], Any]


def sample(kind: SpeedClass, request: Request) -> Call:
    """Return a representative call of a kind, on values that do not matter."""
    shape = _shape(SAMPLE_BYTES[kind.is_large] // request.dtype.itemsize)
    like = torch.empty(0, dtype=request.dtype, device=request.device)
    order = channels_last(4) if kind.has_channels_last else tuple(range(4))
    x = empty_in(order, shape, like).fill_(1)
    arguments = _pool_arguments(kind, x) if kind.operation in POOLS else _run_arguments(kind, x)
    return lambda backend: getattr(backend, kind.operation)(*arguments)


def _shape(elements: int) -> tuple[int, int, int, int]:
    """Return the shape of square images of 64 channels, at least one."""
    side = 16 if elements < CHANNELS * 64**2 else 64
    return max(1, elements // (CHANNELS * side**2)), CHANNELS, side, side


def _run_arguments(kind: SpeedClass, x: Tensor) -> tuple[Any, ...]:
    factors = torch.ones(CHANNELS, device=x.device)
    order = order_of(x)
    if kind.operation in ("relu", "batch_norm_relu"):
        return (x,) if kind.operation == "relu" else (x, factors, factors)
    if kind.operation == "pack_mask":
        return x, order, None
    mask = TorchBackend().pack_mask(x, order, None)
    if kind.operation == "relu_backward":
        return x, mask, order, "guided"
    return x, mask, factors, order, "guided"


def _pool_arguments(kind: SpeedClass, x: Tensor) -> tuple[Any, ...]:
    window = OVERLAPPING if kind.overlaps else SEPARATE
    if kind.operation == "max_pool":
        return x, window
    values, switches = TorchBackend().max_pool(x, window)
    gate = ("guided",) if kind.operation == "unpool_gated" else ()
    return values, switches, x.shape, window, *gate


class Stopwatch(ABC):
    """Measures calls on one device."""

    @abstractmethod
    def may_measure(self, x: Tensor) -> bool:
        """Whether calls can be timed now, beside a call on `x`."""

    @abstractmethod
    def has_memory(self) -> bool:
        """Whether the device has memory for samples."""

    @abstractmethod
    def seconds(self, call: Callable[[], Any], of_device: bool) -> float:
        """Return the time of a call: the device's own, or until the host is free and it is done."""


class GpuStopwatch(Stopwatch):
    """Measures a GPU's own time with events, behind work that lets the host run ahead."""

    ROUNDS, CALLS = 3, 5
    BUSY_BYTES, BUSY_CALLS = 2**26, 50

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def may_measure(self, x: Tensor) -> bool:
        # A tensor of another class may stand for one without memory, as in a traced program.
        is_plain = type(x) is Tensor and not torch.compiler.is_compiling()
        return is_plain and not torch.cuda.is_current_stream_capturing()

    def has_memory(self) -> bool:
        return torch.cuda.mem_get_info(self._device)[0] >= FREE

    def seconds(self, call: Callable[[], Any], of_device: bool) -> float:
        call()
        call()
        busy = torch.empty(
            self.BUSY_BYTES if of_device else 0, device=self._device, dtype=torch.int8
        )
        once = partial(self._of_device, call, busy) if of_device else partial(self._of_call, call)
        return min(once() for _ in range(self.ROUNDS))

    def _of_device(self, call: Callable[[], Any], busy: Tensor) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(self.BUSY_CALLS):
            busy.zero_()
        start.record()
        for _ in range(self.CALLS):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / self.CALLS / 1e3

    def _of_call(self, call: Callable[[], Any]) -> float:
        torch.cuda.synchronize(self._device)
        began = perf_counter()
        for _ in range(self.CALLS):
            call()
        torch.cuda.synchronize(self._device)
        return (perf_counter() - began) / self.CALLS


Measurement = dict[str, "float | Exception"]
"""The seconds of each backend by name, or why it failed."""


def measured(
    kind: SpeedClass, request: Request, backends: Sequence[Backend], stopwatch: Stopwatch
) -> Measurement | None:
    """Return the time of each backend for one kind of call; `None` if memory does not suffice.

    It runs in a thread of its own: modes, transforms and autocast of the caller's do not reach it.
    """
    if not stopwatch.has_memory():
        return None
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_measured, kind, request, backends, stopwatch).result()


def _measured(
    kind: SpeedClass, request: Request, backends: Sequence[Backend], stopwatch: Stopwatch
) -> Measurement | None:
    try:
        call = sample(kind, request)
        return {backend.name: _time(backend, call, kind, stopwatch) for backend in backends}
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _time(
    backend: Backend, call: Call, kind: SpeedClass, stopwatch: Stopwatch
) -> float | Exception:
    try:
        return stopwatch.seconds(partial(call, backend), of_device=kind.is_large)
    except Exception as error:
        if is_out_of_memory(error) or is_lost(error):
            raise
        return error


def by_speed(seconds: Mapping[str, float], slowest: float) -> list[str]:
    """Return names from the fastest to the slowest.

    Args:
        seconds: the time of each, in the fixed order, which decides a tie.
        slowest: what a tie may not take more than: the reference's time.
    """
    limit = min(TIE * min(seconds.values()), max(slowest, min(seconds.values())))
    first = next(name for name, time in seconds.items() if time <= limit)
    return [first, *sorted(seconds.keys() - {first}, key=seconds.__getitem__)]


def read_order(kind: SpeedClass, request: Request, names: Sequence[str]) -> list[str] | None:
    """Return the order of the same backends that was stored for a device like this one."""
    with suppress(OSError, ValueError):
        order = json.loads(read_whole(cache_folder() / _file(kind, request, names)))
        if isinstance(order, list) and sorted(map(str, order)) == sorted(names):
            return order
    return None


def store_order(
    kind: SpeedClass, request: Request, names: Sequence[str], order: Sequence[str]
) -> None:
    """Store an order for later processes; a folder that cannot be written to is no error."""
    path = cache_folder() / _file(kind, request, names)
    with suppress(OSError), put_in_place(path) as partial_file:
        partial_file.write_text(json.dumps(list(order)))


def _file(kind: SpeedClass, request: Request, names: Sequence[str]) -> str:
    device = request.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    text = repr((1, name, str(request.dtype), tuple(kind), tuple(names), sorted(_versions())))
    return f"order-{kind.operation}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _versions() -> list[tuple[str, str]]:
    known = versions()
    return [(package, known.get(package, "")) for package in ("torchattr", "torch", "triton")]
