"""Errors that are also of the types that Captum raises."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar

from torchattr.errors import (
    InputError,
    InputTypeError,
    LayerError,
    OutputError,
    TargetError,
    TorchattrError,
)

F = TypeVar("F", bound=Callable[..., Any])

_ALSO: dict[type[TorchattrError], tuple[type[Exception], ...]] = {
    # An unknown choice, such as a mode, is a NotImplementedError or RuntimeError there.
    InputError: (AssertionError, NotImplementedError),
    InputTypeError: (AssertionError,),
    LayerError: (AssertionError,),
    OutputError: (AssertionError,),
    TargetError: (AssertionError, IndexError),
}
"""What Captum raises where this package raises these or what inherits from them."""


def raises_like_captum(function: F) -> F:
    """Return a function whose errors are also of the types that Captum raises.

    >>> @raises_like_captum
    ... def fail():
    ...     raise TargetError("there is no class 7")
    >>> try:
    ...     fail()
    ... except AssertionError as error:
    ...     print(isinstance(error, TargetError), error)
    True there is no class 7
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TorchattrError as error:
            error.__class__ = _with_captums(type(error))  # type: ignore[arg-type]
            raise

    return call  # type: ignore[return-value]


@cache
def _with_captums(kind: type[TorchattrError]) -> type[TorchattrError]:
    """Return a subclass of an error that inherits from Captum's types, too."""
    further = [one for ours, theirs in _ALSO.items() if issubclass(kind, ours) for one in theirs]
    further = [one for one in further if not issubclass(kind, one)]
    if not further:
        return kind
    body = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        # A class without a place in a module cannot be unpickled.
        "__reduce__": lambda self: (kind, self.args, vars(self)),
    }
    return type(kind.__name__, (kind, *dict.fromkeys(further)), body)
