"""Checks of the numbers that arguments take."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from math import isinf, isnan
from typing import Any

import numpy as np
from torch import Tensor

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
    """Return a number, also NaN, an int as such; NumPy's count, and tensors of no dimension.

    Raises:
        InputTypeError: no number.

    >>> import torch
    >>> as_number(2, "radius"), as_number(torch.tensor([1.0, 3.0]).mean(), "radius")
    (2, 2.0)
    """
    value = plain_numbers(value)
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InputTypeError(f"{name} must be a number, got {described(value)}")
    return value


def checked_number(value: Any, name: str, least: float | None = None, finite: bool = True) -> float:
    """Return a finite number, or one that is at least something, as :func:`as_number`.

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


def checked_pair(value: Any, name: str, expected: str, least: int = 1) -> tuple[int, int]:
    """Return two numbers of things, such as a height and a width; an array or tensor counts.

    Raises:
        InputTypeError: no two ints; `expected` says what is needed.
        InputError: one is less than `least`.

    >>> checked_pair(np.array([3, 4]), "size", "a height and a width")
    (3, 4)
    """
    pair = as_list(value, name, expected)
    if len(pair) != 2:
        raise InputTypeError(f"{name} must be {expected}, got {described(value)}")
    first, second = (checked_count(one, name, least) for one in pair)
    return first, second


def as_list(values: Any, name: str, expected: str) -> list[Any]:
    """Return several values, an array or tensor too, as a list.

    Raises:
        InputTypeError: something else, or a text; `expected` says what is needed.

    >>> as_list(np.array([0.1, 0.5]), "fractions", "a sequence of floats")
    [0.1, 0.5]
    """
    several: Any = values
    if isinstance(values, (Tensor, np.ndarray)):
        several = values.tolist()
    if isinstance(several, (str, bytes, Mapping)) or not isinstance(several, Iterable):
        raise InputTypeError(f"{name} must be {expected}, got {described(values)}")
    return list(several)


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
