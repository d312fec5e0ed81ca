"""The backend that serves where none is requested by name, chosen for each operation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from torchattr.core.device_faults import is_lost, is_out_of_memory, raise_if_lost
from torchattr.core.warn import warn
from torchattr.errors import BackendWarning
from torchattr.kernels.api import Backend, PatchOperations, Request
from torchattr.kernels.speed import (
    MEASURED,
    GpuStopwatch,
    Measurement,
    SpeedClass,
    Stopwatch,
    by_speed,
    measured,
    read_order,
    store_order,
)

Candidate = Backend | PatchOperations

_failed: set[tuple[Candidate, str]] = set()
"""Backends that raised, each with the operation: they serve it no more in this process."""


def has_failed(backend: Candidate, operation: str) -> bool:
    """Whether a backend failed in an operation after it was chosen automatically."""
    return (backend, operation) in _failed


class Ranking(ABC):
    """The order in which candidates are tried for an operation; the last one is the reference."""

    @abstractmethod
    def order(
        self, operation: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Sequence[Candidate]:
        """Return all candidates, the one to try first first."""


class FixedRanking(Ranking):
    """The same order for every operation."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates

    def order(
        self, operation: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Sequence[Candidate]:
        return self._candidates


class MeasuredRanking(Ranking):
    """Orders backends by their speed, measured once for each kind of call and stored on disk.

    Where nothing can be measured, as in the capture of a CUDA graph, the given order serves.
    """

    def __init__(self, request: Request, backends: Sequence[Backend], stopwatch: Stopwatch) -> None:
        self._request, self._backends, self._stopwatch = request, backends, stopwatch
        self._names = [backend.name for backend in backends]
        self._orders: dict[SpeedClass, Sequence[Backend]] = {}

    def order(
        self, operation: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Sequence[Candidate]:
        if operation not in MEASURED or not (args and isinstance(args[0], Tensor)):
            return self._backends
        kind = SpeedClass.of(operation, args, kwargs)
        return self._orders.get(kind) or self._found(kind, args[0])

    def _found(self, kind: SpeedClass, x: Tensor) -> Sequence[Backend]:
        if not self._stopwatch.may_measure(x):
            return self._backends
        names = read_order(kind, self._request, self._names) or self._measured(kind)
        order = sorted(self._backends, key=lambda backend: names.index(backend.name))
        return self._orders.setdefault(kind, order)

    def _measured(self, kind: SpeedClass) -> list[str]:
        working = [one for one in self._backends if not has_failed(one, kind.operation)]
        times = measured(kind, self._request, working, self._stopwatch)
        if times is None:
            return self._names
        names = _ordered(times, self._names)
        errors = [(one, times[one.name]) for one in working]
        failures = [(one, error) for one, error in errors if isinstance(error, Exception)]
        for backend, error in failures:
            drop(backend, kind.operation, error)
        if len(working) == len(self._names) and not failures:
            store_order(kind, self._request, self._names, names)
        return names


def _ordered(times: Measurement, names: Sequence[str]) -> list[str]:
    """Return all names by measured speed, those without a time last."""
    seconds = {name: time for name, time in times.items() if not isinstance(time, Exception)}
    ranked = by_speed(seconds, seconds.get(names[-1], 0.0)) if seconds else []
    return [*ranked, *(name for name in names if name not in ranked)]


class Selection:
    """Runs each operation by the first candidate of a ranking that does not fail."""

    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking

    def call(self, operation: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return the result of an operation.

        Raises:
            DeviceLost: the GPU's context is lost, so that no candidate could serve.
        """
        order = self._ranking.order(operation, args, kwargs)
        working = [one for one in order if (one, operation) not in _failed]
        try:
            return _first_result(working or order, operation, args, kwargs)
        except RuntimeError as error:
            raise_if_lost(error)
            raise


def _first_result(
    order: Sequence[Candidate], operation: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    candidate, *others = order
    run = getattr(candidate, operation)
    if not others:
        return run(*args, **kwargs)
    versions = _versions(args) if operation in _SCALING else []
    try:
        return run(*args, **kwargs)
    except Exception as error:
        is_half_done = bool(versions) and _versions(args) != versions
        if is_half_done or is_out_of_memory(error) or is_lost(error):
            raise
        # Invalid arguments are invalid for the others, too: then the last one raises.
        result = _first_result(others, operation, args, kwargs)
        drop(candidate, operation, error)
        return result


def drop(backend: Candidate, operation: str, error: Exception) -> None:
    """Use a backend for an operation no more, and warn of it."""
    _failed.add((backend, operation))
    warn(
        f"the backend {backend.name!r} failed in {operation} ({type(error).__name__}: {error});"
        " another one is used for this operation from now on, with the same results",
        BackendWarning,
    )


_SCALING = ("batch_norm_relu", "batch_norm_relu_backward")
"""Operations whose result differs if they run a second time on what they overwrite."""


def _versions(args: Sequence[Any]) -> list[int]:
    tensors = (arg for arg in args if isinstance(arg, Tensor) and not arg.is_inference())
    return [tensor._version for tensor in tensors]


def _chosen(operation: str) -> Callable[..., Any]:
    def call(self: AutomaticBackend | AutomaticPatches, *args: Any, **kwargs: Any) -> Any:
        return self.selection.call(operation, args, kwargs)

    return call


class AutomaticPatches(PatchOperations):
    """Operations on patches, by the first of several backends that has its own and works."""

    def __init__(self, candidates: Sequence[PatchOperations]) -> None:
        self.name = candidates[0].name  # type: ignore[misc]
        self.selection = Selection(FixedRanking(candidates))

    gather = _chosen("gather")
    convolve = _chosen("convolve")
    pool = _chosen("pool")


class AutomaticBackend(Backend):
    """The fastest of several backends for each operation; the next one where it fails.

    Args:
        request: what all of them serve.
        candidates: the backends in their fixed order, the reference last.
        stopwatch: measures them; without one, as on CPUs, the fixed order serves.
    """

    def __init__(
        self, request: Request, candidates: Sequence[Backend], stopwatch: Stopwatch | None = None
    ) -> None:
        self.name = candidates[0].name  # type: ignore[misc]
        self._candidates = candidates
        self.selection = Selection(
            MeasuredRanking(request, candidates, stopwatch)
            if stopwatch
            else FixedRanking(candidates)
        )

    def refusals(self, request: Request) -> list[str]:
        return self._candidates[-1].refusals(request)

    @cached_property
    def patches(self) -> PatchOperations:
        own = [one.patches for one in self._candidates]
        having = [patches for patches in own if patches is not None]
        return AutomaticPatches(having) if len(having) > 1 else having[0]

    pack_mask = _chosen("pack_mask")
    relu = _chosen("relu")
    relu_backward = _chosen("relu_backward")
    batch_norm_relu = _chosen("batch_norm_relu")
    batch_norm_relu_backward = _chosen("batch_norm_relu_backward")
    pack_switches = _chosen("pack_switches")
    max_pool = _chosen("max_pool")
    unpool = _chosen("unpool")
    unpool_gated = _chosen("unpool_gated")


def stopwatch_for(device: torch.device) -> Stopwatch | None:
    """Return what measures backends on a device; `None` where their fixed order serves."""
    return GpuStopwatch(device) if device.type == "cuda" else None
