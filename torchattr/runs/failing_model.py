"""Say what a model does not take of a picture that it was given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from torchattr.core.misshapen_inputs import raise_if_misshapen
from torchattr.core.unlike_inputs import raise_if_unlike
from torchattr.errors import InputError, ModelError, TorchattrError
from torchattr.models import LoadedModel, blamed, reason


@contextmanager
def failing_is_a_sentence(loaded: LoadedModel, inputs: Tensor) -> Iterator[None]:
    """Raise ``ModelError`` where a model fails on pictures ``(N, C, H, W)``.

    Errors of the package itself and of a user's file, which say where they come from, pass.
    """
    try:
        yield
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        if isinstance(error, TorchattrError) or blamed(error):
            raise
        raise ModelError(
            f"{loaded.name} cannot be run on a picture {tuple(inputs.shape)}:"
            f" {_why(error, loaded, inputs)}"
        ) from error


def _why(error: Exception, loaded: LoadedModel, inputs: Tensor) -> str:
    """Return what the model does not take of a picture, or else what was raised."""
    try:
        raise_if_unlike(error, [loaded.model], [inputs])
        raise_if_misshapen(error, [loaded.model], [inputs])
    except InputError as known:
        return f"{known}, or let its transform do so"
    return f"{type(error).__name__}: {reason(error)}"
