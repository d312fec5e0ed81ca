"""What holds of every class under Captum's names: its errors, and what a missing target means."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from torchattr.captum.base import DIFFERENTIATED
from torchattr.captum.errors import raises_like_captum
from torchattr.core.targets import OnlyValue

_METHODS = (
    "__init__",
    "attribute",
    "compute_convergence_delta",
    "perturb",
    "add_attack",
    "evaluate",
    "compute_cavs",
    "interpret",
    "update",
)


def behave_like_captum(values: Iterable[object]) -> None:
    """Make the classes among some values raise what Captum raises.

    A method that takes gradients then refuses several values without a target, too.

    Args:
        values: all classes that are given to users. None of them may be a base of another one's
            method that is found later: what each class has is read before any is changed.
    """
    classes = [value for value in values if inspect.isclass(value) and _is_own(value)]
    found = [(one, name, getattr(one, name, None)) for one in classes for name in _METHODS]
    for one, name, function in found:
        if inspect.isfunction(function):
            if name == "attribute" and issubclass(one, DIFFERENTIATED):
                one.missing_target = OnlyValue()
                function = _with_missing_target(function)
            setattr(one, name, raises_like_captum(function))


def _is_own(one: type) -> bool:
    return one.__module__.startswith(__name__.rpartition(".")[0])


def _with_missing_target(attribute: Callable[..., Any]) -> Callable[..., Any]:
    """Return an `attribute` that replaces `target=None` by what a missing target means."""
    signature = inspect.signature(attribute)
    if "target" not in signature.parameters:
        return attribute

    @wraps(attribute)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:
            return attribute(self, *args, **kwargs)  # Python names the wrong arguments.
        if bound.arguments.get("target") is None:
            bound.arguments["target"] = self.missing_target
        return attribute(*bound.args, **bound.kwargs)

    return call
