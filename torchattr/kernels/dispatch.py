"""Which backend serves a call: the one requested by name, else the fastest on offer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import TypeVar

from torchattr.core.device_faults import refuse_lost
from torchattr.core.registry import Registry
from torchattr.core.undoing import undone
from torchattr.errors import BackendError
from torchattr.kernels.api import Backend, PatchOperations, Request
from torchattr.kernels.automatic import AutomaticBackend, stopwatch_for
from torchattr.kernels.cpu.backend import CpuBackend
from torchattr.kernels.cuda.backend import CudaBackend
from torchattr.kernels.reference.backend import TorchBackend
from torchattr.kernels.reference.patches import TorchPatches
from torchattr.kernels.triton.backend import TritonBackend

ENTRY_POINTS = "torchattr.backends"
ENVIRONMENT = "TORCHATTR_BACKEND"
AUTO = "auto"

B = TypeVar("B", bound=type[Backend])

BUILT_IN: tuple[type[Backend], ...] = (CudaBackend, TritonBackend, CpuBackend, TorchBackend)
"""In the order in which they are tried where speed is not measured or does not differ.

The reference is last: it serves what the others refuse.
"""

BACKENDS: Registry[type[Backend]] = Registry("backend", group=ENTRY_POINTS, error=BackendError)

_REFERENCE = TorchPatches()

_requested: ContextVar[str | None] = ContextVar("torchattr_backend", default=None)


def register_backend(backend: B) -> B:
    """Register the decorated :class:`Backend` under its `name`.

    It is tried before the built-in ones, after those that were registered earlier. Installed
    packages name the module that registers theirs in the entry point group `torchattr.backends`.

    Raises:
        BackendError: the name is taken.

    >>> from torchattr.kernels import TorchBackend, register_backend
    >>> register_backend(TorchBackend)
    Traceback (most recent call last):
    torchattr.errors.BackendError: a backend called 'torch' is registered already ...
    """
    if backend.name == AUTO:
        raise BackendError(f"a backend cannot be called {AUTO!r}; choose another name")
    BACKENDS.add(backend.name, backend)
    return backend


for _backend in BUILT_IN:
    register_backend(_backend)


def backends() -> dict[str, Backend]:
    """Return every backend by its name, in the order in which they are tried.

    Registered ones come first, in the order of their registration; the reference comes last.
    """
    classes = BACKENDS.snapshot().values()
    added = [backend for backend in classes if backend not in BUILT_IN]
    return {backend.name: _instance(backend) for backend in (*added, *BUILT_IN)}


@cache
def _instance(backend: type[Backend]) -> Backend:
    return backend()


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Request a backend by name within a `with` block; `"auto"` leaves the choice open.

    Raises:
        BackendError: there is no such backend. A call that it refuses raises, too.

    >>> with backend("torch"):
    ...     pass
    """
    with undone() as undo:
        undo.later(partial(_requested.set, _requested.get()), of_thread=True)
        _requested.set(_known(name))
        yield


def requested_backend() -> str:
    """Return the name requested by `with backend(...)` or TORCHATTR_BACKEND, or `"auto"`."""
    return _requested.get() or _known(os.environ.get(ENVIRONMENT) or AUTO)


def choose(request: Request, name: str) -> Backend:
    """Return the backend called `name`, for `"auto"` one that chooses for each operation.

    Raises:
        BackendError: the backend requested by name refuses, with all its reasons.
        DeviceLost: the context of the GPU was lost before.
    """
    refuse_lost(request.device)
    if name == AUTO:
        offered = (one for one in backends().values() if one.is_offered(request))
        return _automatic(request, tuple(offered))
    named = backends()[name]
    reasons = named.refusals(request)
    if reasons:
        raise BackendError(
            f"backend {name!r} cannot serve {request.dtype} on {request.device}:"
            f" {'; '.join(reasons)}. Choose another, or 'auto'"
        )
    return named


@cache
def _automatic(request: Request, candidates: tuple[Backend, ...]) -> Backend:
    """Return what chooses among candidates: the same object for the same request."""
    if len(candidates) == 1:
        return candidates[0]
    return AutomaticBackend(request, candidates, stopwatch_for(request.device))


def choose_patches(request: Request, name: str) -> PatchOperations:
    """Return the operations on patches of the chosen backend, or the reference's if it has none.

    Raises:
        BackendError: as :func:`choose`.
    """
    return choose(request, name).patches or _REFERENCE


def _known(name: str) -> str:
    if name != AUTO and name not in backends():
        raise BACKENDS.unknown(name, also=[AUTO])
    return name
