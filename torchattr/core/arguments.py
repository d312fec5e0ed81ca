"""Arguments that Python takes without a word, but that cannot mean anything."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar, cast

import numpy as np

from torchattr.errors import InputError, InputTypeError, TorchattrError

_F = TypeVar("_F", bound=Callable[..., Any])

_OTHER_NAMES = {"targets": "target", "input": "inputs"}
"""How arguments are called elsewhere, and by methods."""


def check_arguments(cls: type, *functions: str) -> None:
    """Let functions that a class defines take NumPy's numbers, and refuse what they could not use.

    That are values of arguments annotated as `bool` that are none, such as the text `"no"`, which
    would count as true, and names that only other functions have for an argument.

    >>> class Method:
    ...     def attribute(self, inputs: float, signed: bool = True) -> float: ...
    >>> check_arguments(Method, "attribute")
    >>> Method().attribute(1.0, signed="no")
    Traceback (most recent call last):
    torchattr.errors.InputTypeError: signed must be True or False, got 'no'
    """
    for name in functions:
        function = vars(cls).get(name)
        if isinstance(function, FunctionType):
            setattr(cls, name, _checked(function))


def checked_flags(function: _F) -> _F:
    """Let a function refuse values of arguments annotated as `bool` that are none.

    >>> @checked_flags
    ... def similarity(maps: list[float], absolute: bool = False) -> float: ...
    >>> similarity([1.0], absolute="no")
    Traceback (most recent call last):
    torchattr.errors.InputTypeError: absolute must be True or False, got 'no'
    """
    signature = inspect.signature(function)
    check = _flag_check(signature)

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check(args, kwargs)
        return function(*args, **kwargs)

    checked.__signature__ = signature  # type: ignore[attr-defined]
    return cast("_F", checked)


def check_choice(
    name: str, value: Any, choices: Iterable[Any], error: type[TorchattrError] = InputError
) -> None:
    """Refuse the value of an argument that is none of a few.

    Raises:
        InputError: it is another one; `error` may be another class.

    >>> check_choice("view", "all", ("crop", "photo"))
    Traceback (most recent call last):
    torchattr.errors.InputError: view must be one of 'crop', 'photo', got 'all'
    """
    known = tuple(choices)
    if not _is_among(value, known):
        raise error(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")


def check_function(name: str, value: Any, what: str = "a function") -> None:
    """Refuse what cannot be called.

    Raises:
        InputTypeError: it is no function; `what` says what is needed.

    >>> check_function("model", "resnet", "an nn.Module or a function")
    Traceback (most recent call last):
    torchattr.errors.InputTypeError: model must be an nn.Module or a function, got str
    """
    if not callable(value):
        raise InputTypeError(f"{name} must be {what}, got {type(value).__name__}")


def check_model(model: Any) -> None:
    """Refuse a model that cannot be called.

    Raises:
        InputTypeError: it is neither a module nor a function.
    """
    check_function("model", model, "an nn.Module or a function")


def check_functions(**functions: Any) -> None:
    """Refuse what cannot be called of arguments that may be `None`.

    Raises:
        InputTypeError: one is no function.
    """
    for name, function in functions.items():
        if function is not None:
            check_function(name, function)


def _is_among(value: Any, known: tuple[Any, ...]) -> bool:
    try:
        return value in known
    except (TypeError, ValueError, RuntimeError):  # Arrays and tensors compare their elements.
        return False


def is_iterable(value: Any) -> bool:
    """Whether a value can be iterated over, be it by positions, as data sets of PyTorch are.

    >>> is_iterable(iter("ab")), is_iterable(3)
    (True, False)
    """
    has_positions = hasattr(type(value), "__len__") and hasattr(type(value), "__getitem__")
    return isinstance(value, Iterable) or has_positions


def checked_texts(value: Any, name: str) -> list[str]:
    """Return several texts as a list.

    Raises:
        InputTypeError: something else, such as a single text.

    >>> checked_texts(("cat", "dog"), "labels")
    ['cat', 'dog']
    """
    is_several = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
    texts: list[Any] = list(value) if is_several else [None]
    if not all(isinstance(text, str) for text in texts):
        raise InputTypeError(f"{name} must be a sequence of texts, got {reprlib.repr(value)}")
    return texts


def plain_numbers(value: Any) -> Any:
    """Return NumPy's numbers as Python's, also those in a tuple or list; all else as it is.

    >>> plain_numbers(np.int64(3)), plain_numbers((np.float32(0.5), "blur")), plain_numbers(None)
    (3, (0.5, 'blur'), None)
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (tuple, list):
        entries = [plain_numbers(entry) for entry in value]
        changed = any(entry is not own for entry, own in zip(entries, value, strict=True))
        return type(value)(entries) if changed else value
    return value


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)
    parameters = signature.parameters
    check = _flag_check(signature)

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check(args, kwargs)
        _check_names(kwargs, parameters)
        args = tuple(map(_plain, args, parameters)) + args[len(parameters) :]
        kwargs = {name: _plain(value, name) for name, value in kwargs.items()}
        return function(*args, **kwargs)

    # `inspect.getfullargspec` does not look below what wraps a function. What wraps this one with
    # `wraps` has the signature from here.
    checked.__signature__ = signature  # type: ignore[attr-defined]
    return checked


def _flag_check(signature: inspect.Signature) -> Callable[[Sequence[Any], Mapping[str, Any]], None]:
    """Return what checks the flags among the arguments of a call."""
    flags = {
        name: _FLAGS[one.annotation]
        for name, one in signature.parameters.items()
        if isinstance(one.annotation, (str, type)) and one.annotation in _FLAGS
    }
    positions = {place: name for place, name in enumerate(signature.parameters) if name in flags}

    def check(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        for place, name in positions.items():
            if place < len(args):
                _check_flag(name, args[place], flags[name])
        for name in flags.keys() & kwargs.keys():
            _check_flag(name, kwargs[name], flags[name])

    return check


_FLAGS: Mapping[Any, bool] = {bool: False, "bool": False, "bool | None": True}
"""Annotations of flags, and whether they may be `None`."""


def _plain(value: Any, name: str) -> Any:
    """Return the value of an argument with plain numbers; the model gets its own as they are."""
    return value if name == "additional_forward_args" else plain_numbers(value)


def _check_flag(name: str, value: Any, optional: bool) -> None:
    if not isinstance(value, (bool, np.bool_)) and not (optional and value is None):
        allowed = "True, False or None" if optional else "True or False"
        # The text of a tensor has many lines.
        got = " ".join(reprlib.repr(value).split())
        raise InputTypeError(f"{name} must be {allowed}, got {got}")


def _check_names(given: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    for other, own in _OTHER_NAMES.items():
        if other in given and other not in parameters and own in parameters:
            raise InputTypeError(f"{other} is called {own} here; pass {own}=...")
