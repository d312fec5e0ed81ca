"""Checks of the numbers that arguments take."""

from __future__ import annotations

import reprlib
from math import isinf, isnan
from typing import Any

from torchattr.core.arguments import plain_numbers
from torchattr.errors import InputError, InputTypeError


def checked_count(value: Any, name: str, least: int = 1, expected: str = "an int") -> int:
    """Return a number of things; NumPy's integers count.

    Raises:
        InputTypeError: not an int.
        InputError: less than `least`.

    >>> checked_count(3, "n_samples")
    3
    """
    value = plain_numbers(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputTypeError(f"{name} must be {expected}, got {described(value)}")
    if value < least:
        raise InputError(f"{name} must be at least {least}, got {value}")
    return value


def as_number(value: Any, name: str) -> float:
    """Return a number, also NaN, an int as such; NumPy's count.

    Raises:
        InputTypeError: no number.
    """
    value = plain_numbers(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InputTypeError(f"{name} must be a number, got {described(value)}")
    return value


def checked_number(value: Any, name: str, least: float | None = None, finite: bool = True) -> float:
    """Return a number, an int as such; NumPy's count.

    Raises:
        InputTypeError: no number.
        InputError: NaN, infinite where that is no choice, or less than `least`.

    >>> checked_number(2, "radius", least=0), checked_number(0.5, "epsilon")
    (2, 0.5)
    """
    value = as_number(value, name)
    if isnan(value) or (finite and isinf(value)):
        raise InputError(f"{name} must be {'finite' if finite else 'a number'}, got {value}")
    if least is not None and value < least:
        raise InputError(f"{name} must be at least {least}, got {value}")
    return value


def checked_share(value: Any, name: str) -> float:
    """Return a number from 0 to 1.

    Raises:
        InputTypeError: no number.
        InputError: NaN, or out of this range.
    """
    number = checked_number(value, name)
    if not 0 <= number <= 1:
        raise InputError(f"{name} must lie in 0..1, got {number}")
    return number


def described(value: Any) -> str:
    """Return what an argument is, for a message: its type, and its value, shortened.

    >>> described("many")
    "str 'many'"
    """
    return f"{type(value).__name__} {reprlib.repr(value)}"
