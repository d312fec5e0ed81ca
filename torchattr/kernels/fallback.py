"""A backend that nobody asked for by name: where it fails, it must not take a method down."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from torchattr.core.warn import warn
from torchattr.errors import BackendWarning
from torchattr.kernels.api import Backend, Request
from torchattr.kernels.reference.backend import TorchBackend


def _served(name: str) -> Callable[..., Any]:
    def call(self: Unasked, *args: Any, **kwargs: Any) -> Any:
        return self.serve(name, args, kwargs)

    return call


class Unasked(Backend):
    """A backend whose failures are said once; the reference serves from then on.

    Args:
        backend: which one.

    Attributes:
        failed: whether it has failed in this process.
    """

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name  # type: ignore[misc]
        self.failed = False
        self._backend = backend
        self._reference = TorchBackend()

    def refusals(self, request: Request) -> list[str]:
        return self._backend.refusals(request)

    def serve(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what an operation gives, by the backend if it can."""
        if self.failed:
            return getattr(self._reference, name)(*args, **kwargs)
        written = _times_written(args)
        try:
            return getattr(self._backend, name)(*args, **kwargs)
        except Exception as error:
            half_done = name in _SCALING and _times_written(args) != written
            if _is_out_of_memory(error) or half_done:
                raise
            # What was wrong with the arguments is so for the reference, too, and is raised.
            result = getattr(self._reference, name)(*args, **kwargs)
            self._say(name, error)
            return result

    def _say(self, name: str, error: Exception) -> None:
        self.failed = True
        warn(
            f"the backend {self.name!r} fails in {name} ({type(error).__name__}: {error});"
            " another one serves from now on, with the same results",
            BackendWarning,
        )

    pack_mask = _served("pack_mask")
    relu = _served("relu")
    relu_backward = _served("relu_backward")
    batch_norm_relu = _served("batch_norm_relu")
    batch_norm_relu_backward = _served("batch_norm_relu_backward")
    pack_switches = _served("pack_switches")
    max_pool = _served("max_pool")
    unpool = _served("unpool")
    unpool_gated = _served("unpool_gated")
    gather = _served("gather")
    convolve = _served("convolve")
    pool = _served("pool")


@cache
def unasked(backend: Backend) -> Backend:
    """Return a backend as it serves when it was not asked for by name; always the same."""
    return backend if isinstance(backend, TorchBackend) else Unasked(backend)


def has_failed(backend: Backend) -> bool:
    """Whether a backend has failed where it was not asked for by name."""
    found = unasked(backend)
    return isinstance(found, Unasked) and found.failed


_SCALING = ("batch_norm_relu", "batch_norm_relu_backward")
"""Operations that give something else when they are done twice to what they write over."""


def _times_written(args: tuple[Any, ...]) -> list[int]:
    tensors = (one for one in args if isinstance(one, Tensor) and not one.is_inference())
    return [tensor._version for tensor in tensors]


def _is_out_of_memory(error: Exception) -> bool:
    memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return memory or "memory" in str(error)
