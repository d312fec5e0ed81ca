"""Say what a model does not take of a picture that it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from torchattr.core.gradient_mode import gradients
from torchattr.core.misshapen_inputs import raise_if_misshapen
from torchattr.core.unlike_inputs import raise_if_unlike
from torchattr.errors import InputError, ModelError, TorchattrError
from torchattr.models import LoadedModel, blamed, reason

RAISED = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""What models raise on inputs that they do not take; transformers assert their size."""


@contextmanager
def failing_is_a_sentence(loaded: LoadedModel, inputs: Callable[[], Tensor]) -> Iterator[None]:
    """Raise ``ModelError`` for what a model raises on pictures.

    The model is then run on them again, alone: what it does not raise by itself is not its fault,
    and passes; so do errors of the package, and of a user's file, which say where they come from.

    inputs: returns the pictures ``(N, C, H, W)``.
    """
    try:
        yield
    except RAISED as error:
        if isinstance(error, TorchattrError) or blamed(error):
            raise
        pictures = inputs()
        fault = fault_on(loaded, pictures)
        if fault is None:
            raise
        raise ModelError(
            f"{loaded.name} cannot be run on a picture {tuple(pictures.shape)}:"
            f" {_why(fault, loaded, pictures)}"
        ) from error


def fault_on(loaded: LoadedModel, inputs: Tensor) -> Exception | None:
    """Return what a model raises by itself on pictures `(N, C, H, W)`; `None` if it runs."""
    try:
        with gradients(False):
            loaded.model(inputs)
    except RAISED as error:
        return error
    return None


def _why(error: Exception, loaded: LoadedModel, inputs: Tensor) -> str:
    """Return what the model does not take of a picture, or else what was raised."""
    try:
        raise_if_unlike(error, [loaded.model], [inputs])
        raise_if_misshapen(error, [loaded.model], [inputs])
    except InputError as known:
        return f"{known}, or let its transform do so"
    return f"{type(error).__name__}: {reason(error)}"
