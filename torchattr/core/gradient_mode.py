"""Enable and disable gradients so that an interrupt cannot leave them that way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from torchattr.core.torch_private import set_grad_enabled
from torchattr.core.undoing import Undo, undone


def set_gradients(undo: Undo, enabled: bool) -> None:
    """Leave inference mode, and enable or disable gradients."""
    undo.later(partial(set_grad_enabled, torch.is_grad_enabled()), of_thread=True)
    if torch.is_inference_mode_enabled():
        outside: Any = torch.inference_mode(False)
        undo.later(partial(_leave, outside), of_thread=True)
        outside.__enter__()
    set_grad_enabled(enabled)


def _leave(context: Any) -> None:
    if hasattr(context, "_inference_mode_context"):
        context.__exit__(None, None, None)


@contextmanager
def gradients(enabled: bool = True) -> Iterator[None]:
    """Leave inference mode and enable or disable gradients within a `with` block.

    >>> with torch.no_grad(), gradients():
    ...     torch.is_grad_enabled()
    True
    """
    with undone() as undo:
        set_gradients(undo, enabled)
        yield
