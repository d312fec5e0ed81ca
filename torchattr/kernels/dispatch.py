"""Which backend serves a call: the one asked for by name, else the first that can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from importlib.metadata import entry_points

from torchattr.core.undoing import undone
from torchattr.errors import BackendError
from torchattr.kernels.api import Backend, Request
from torchattr.kernels.cpu.backend import CpuBackend
from torchattr.kernels.cuda.backend import CudaBackend
from torchattr.kernels.fallback import has_failed, unasked
from torchattr.kernels.reference.backend import TorchBackend
from torchattr.kernels.triton.backend import TritonBackend

ENTRY_POINTS = "torchattr.backends"
ENVIRONMENT = "TORCHATTR_BACKEND"
AUTO = "auto"

_asked: ContextVar[str | None] = ContextVar("torchattr_backend", default=None)


@cache
def backends() -> dict[str, Backend]:
    """Give every backend by its name, in the order in which they are tried.

    Installed packages add theirs through the entry point group `torchattr.backends`; they come
    first. The reference comes last, and serves whatever the others refuse.
    """
    added = [point.load()() for point in entry_points(group=ENTRY_POINTS)]
    ours = (TritonBackend(), CudaBackend(), CpuBackend(), TorchBackend())
    return {backend.name: backend for backend in (*added, *ours)}


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Ask for a backend by name within a `with` block; `"auto"` leaves the choice open.

    Raises:
        BackendError: there is no such backend. A call that it refuses raises, too.

    >>> with backend("torch"):
    ...     pass
    """
    with undone() as undo:
        undo.later(partial(_asked.set, _asked.get()), of_thread=True)
        _asked.set(_known(name))
        yield


def requested_backend() -> str:
    """Give the name asked for by `with backend(...)` or TORCHATTR_BACKEND, or `"auto"`."""
    return _asked.get() or _known(os.environ.get(ENVIRONMENT) or AUTO)


def choose(request: Request, name: str) -> Backend:
    """Give the backend called `name`, or for `"auto"` the first that is offered and has not failed.

    Raises:
        BackendError: the backend asked for by name refuses, with all its reasons.
    """
    if name == AUTO:
        offered = (one for one in backends().values() if one.is_offered(request))
        return unasked(next(one for one in offered if not has_failed(one)))
    found = backends()[name]
    reasons = found.refusals(request)
    if reasons:
        raise BackendError(
            f"backend {name!r} cannot serve {request.dtype} on {request.device}:"
            f" {'; '.join(reasons)}. Choose another, or 'auto'"
        )
    return found


def _known(name: str) -> str:
    if name != AUTO and name not in backends():
        raise BackendError(
            f"no backend is called {name!r}; there are: auto, {', '.join(backends())}"
        )
    return name
