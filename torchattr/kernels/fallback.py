"""Automatically chosen backends: where one fails, the reference takes over, with one warning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from torchattr.core.warn import warn
from torchattr.errors import BackendWarning
from torchattr.kernels.api import Backend, PatchOperations, Request
from torchattr.kernels.reference.backend import TorchBackend
from torchattr.kernels.reference.patches import TorchPatches


class Failover:
    """Calls a backend until one of its operations fails, and the reference from then on.

    Attributes:
        failed: whether an operation has failed in this process.
    """

    def __init__(self, backend: str) -> None:
        self.failed = False
        self._backend = backend

    def call(
        self,
        operation: str,
        chosen: object,
        reference: object,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Return the result of an operation, from `chosen` if it can."""
        if self.failed:
            return getattr(reference, operation)(*args, **kwargs)
        versions = _versions(args)
        try:
            return getattr(chosen, operation)(*args, **kwargs)
        except Exception as error:
            half_done = operation in _SCALING and _versions(args) != versions
            if _is_out_of_memory(error) or half_done:
                raise
            # Invalid arguments are invalid for the reference, too, which then raises.
            result = getattr(reference, operation)(*args, **kwargs)
            self._warn(operation, error)
            return result

    def _warn(self, operation: str, error: Exception) -> None:
        self.failed = True
        warn(
            f"the backend {self._backend!r} failed in {operation} ({type(error).__name__}:"
            f" {error}); another one is used from now on, with the same results",
            BackendWarning,
        )


def _guarded(operation: str) -> Callable[..., Any]:
    def call(self: FallbackBackend | FallbackPatches, *args: Any, **kwargs: Any) -> Any:
        return self.failover.call(operation, self.chosen, self.reference, args, kwargs)

    return call


class FallbackPatches(PatchOperations):
    """The operations on patches of an automatically chosen backend."""

    def __init__(self, chosen: PatchOperations, failover: Failover) -> None:
        self.name = chosen.name  # type: ignore[misc]
        self.failover = failover
        self.chosen, self.reference = chosen, TorchPatches()

    gather = _guarded("gather")
    convolve = _guarded("convolve")
    pool = _guarded("pool")


class FallbackBackend(Backend):
    """An automatically chosen backend."""

    def __init__(self, chosen: Backend) -> None:
        self.name = chosen.name  # type: ignore[misc]
        self.failover = Failover(chosen.name)
        self.chosen, self.reference = chosen, TorchBackend()

    def refusals(self, request: Request) -> list[str]:
        return self.chosen.refusals(request)

    @cached_property
    def patches(self) -> PatchOperations | None:
        own = self.chosen.patches
        return None if own is None else FallbackPatches(own, self.failover)

    pack_mask = _guarded("pack_mask")
    relu = _guarded("relu")
    relu_backward = _guarded("relu_backward")
    batch_norm_relu = _guarded("batch_norm_relu")
    batch_norm_relu_backward = _guarded("batch_norm_relu_backward")
    pack_switches = _guarded("pack_switches")
    max_pool = _guarded("max_pool")
    unpool = _guarded("unpool")
    unpool_gated = _guarded("unpool_gated")


@cache
def with_fallback(backend: Backend) -> Backend:
    """Return the wrapper used when this backend is chosen automatically; always the same object."""
    return backend if isinstance(backend, TorchBackend) else FallbackBackend(backend)


def has_failed(backend: Backend) -> bool:
    """Whether a backend has failed after it was chosen automatically."""
    guarded = with_fallback(backend)
    return isinstance(guarded, FallbackBackend) and guarded.failover.failed


_SCALING = ("batch_norm_relu", "batch_norm_relu_backward")
"""Operations whose result differs if they run a second time on what they overwrite."""


def _versions(args: Sequence[Any]) -> list[int]:
    tensors = (arg for arg in args if isinstance(arg, Tensor) and not arg.is_inference())
    return [tensor._version for tensor in tensors]


def _is_out_of_memory(error: Exception) -> bool:
    memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return memory or "memory" in str(error)
