"""Faults of a device: memory that ran out, and a GPU whose context is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from torchattr.errors import DeviceLost, Hint, WayOut

_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")

_LOST = (
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "context is destroyed",
    "device-side assert triggered",
    "fallen off the bus",
    "hardware stack error",
    "invalid address space",
    "invalid program counter",
    "misaligned address",
    "the launch timed out and was terminated",
    "uncorrectable ECC error",
    "uncorrectable NVLink error",
    "unspecified launch failure",
)
"""What the driver says of errors that every later call in the process returns, too."""

_MAYBE_LOST = ("CUDA error", "the CUDA driver failed")

_WAYS_OUT = Hint(
    ways_out=[
        WayOut("restart the process (in a notebook, the kernel)"),
        WayOut(
            "to find the operation at fault, which may be an earlier one than the one that raised,"
            " set CUDA_LAUNCH_BLOCKING=1 or run it under compute-sanitizer"
        ),
    ]
)

_reported: list[str] = []
"""What the lost context was first reported with: a process never gets it back."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(sign in str(error) for sign in _MEMORY)


def is_lost(error: BaseException) -> bool:
    """Whether an error means that this process can no longer use its GPU."""
    text = str(error)
    if isinstance(error, DeviceLost) or any(sign in text for sign in _LOST):
        return True
    is_unclear = any(sign in text for sign in _MAYBE_LOST) and not is_out_of_memory(error)
    return is_unclear and _fails_again()


def _fails_again() -> bool:
    """Whether a call that does nothing fails, too."""
    if not torch.cuda.is_initialized() or torch.cuda.is_current_stream_capturing():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def refuse_lost(device: torch.device) -> None:
    """Raise at once if the context of a GPU was lost before in this process.

    Raises:
        DeviceLost: it was; the message tells by what.
    """
    if _reported and device.type == "cuda":
        raise _lost_by(_reported[0])


@contextmanager
def lost_device_named() -> Iterator[None]:
    """Raise :class:`DeviceLost` for an error within the block that means it.

    >>> with lost_device_named():
    ...     pass
    """
    try:
        yield
    except RuntimeError as error:
        raise_if_lost(error)
        raise


def raise_if_lost(error: BaseException) -> None:
    """Raise :class:`DeviceLost` if an error is or means it, and remember it for later calls."""
    if isinstance(error, DeviceLost):
        raise error
    if not is_lost(error):
        return
    if not _reported:
        _reported.append(next(iter(str(error).splitlines()), type(error).__name__))
    raise _lost_by(_reported[0]) from error


def _lost_by(reason: str) -> DeviceLost:
    return DeviceLost(
        f"the GPU's context is lost ({reason}), so nothing can run on a GPU in this process any"
        " more",
        hint=_WAYS_OUT,
    )
