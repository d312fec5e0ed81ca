"""Methods by name, for `explain`, the command line and the viewer."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.errors import RuleError
from torchattr.methods.base import Attribution

ENTRY_POINTS = "torchattr.methods"

M = TypeVar("M", bound=type[Attribution])

_methods: dict[str, type[Attribution]] = {}
_origins: dict[str, tuple[str, str, str | None]] = {}


def register_method(name: str) -> Callable[[M], M]:
    """Register the decorated :class:`Attribution` under a name.

    Its `attribute` must take `inputs`, `target` and `additional_forward_args`. Installed packages
    name the module that registers theirs in the entry point group `torchattr.methods`. A file that
    is run again replaces its own method.

    Raises:
        RuleError: the name is taken already.

    >>> import torch, torchattr as ta
    >>> @ta.register_method("signed_gradient")
    ... class SignedGradient(ta.GradientAttribution):
    ...     def finish(self, inputs, grads):
    ...         return grads.sign()
    >>> ta.explain(lambda x: -2 * x, torch.ones(1, 1), ["signed_gradient"])["signed_gradient"]
    tensor([[[-1.]]])
    """

    def register(method: M) -> M:
        origin = _origin(method)
        again = method is not _methods.get(name) and origin == _origins.get(name) and origin[2]
        if name in _methods and not again:
            raise RuleError(
                f"a method called {name!r} is registered already"
                f" ({_methods[name].__qualname__}); choose another name"
            )
        _methods[name], _origins[name] = method, origin
        return method

    return register


def registered_methods() -> dict[str, type[Attribution]]:
    """Give a snapshot of all methods: `{name: class}`.

    >>> registered_methods()["saliency"].__name__
    'Saliency'
    """
    _load_installed()
    return dict(_methods)


def find_method(name: str) -> type[Attribution]:
    """Give the method of a name.

    Raises:
        RuleError: there is none; the message names the closest ones.
    """
    methods = registered_methods()
    if name not in methods:
        close = get_close_matches(name.replace("-", "_"), methods, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise RuleError(
            f"no method is called {name!r}; {hint or 'there are: ' + ', '.join(methods)}"
        )
    return methods[name]


def name_of(method: type[Attribution] | Attribution) -> str:
    """Give the registered name of a method, or the name of its class."""
    cls = method if isinstance(method, type) else type(method)
    return next((name for name, known in _methods.items() if known is cls), cls.__name__)


def build(
    method: str | type[Attribution] | Attribution,
    model: Forward,
    *,
    layer: Layers | None = None,
    rules: Any = None,
    output: OutputKey = None,
) -> Attribution:
    """Make a method for a model, giving it those of the arguments that it has a use for.

    Further `rules` are for methods that stand for rules of their own; the gradient of the others
    stays the gradient.
    """
    if isinstance(method, Attribution):
        return method
    cls = find_method(method) if isinstance(method, str) else method
    offered: dict[str, Any] = {"layer": layer, "output": output}
    if getattr(cls, "rules", None):
        offered["rules"] = rules
    return cls(model, **{name: value for name, value in offered.items() if takes(cls, name)})


def takes(method: str | type[Attribution], argument: str) -> bool:
    """Tell whether a method is made with an argument of this name, such as `layer`."""
    cls = find_method(method) if isinstance(method, str) else method
    return argument in inspect.signature(cls).parameters


def _origin(method: type[Attribution]) -> tuple[str, str, str | None]:
    """Return where a class is written: its module, its name there, and its file, if it is known."""
    file = getattr(sys.modules.get(method.__module__), "__file__", None)
    return method.__module__, method.__qualname__, file


@cache
def _load_installed() -> None:
    for point in entry_points(group=ENTRY_POINTS):
        point.load()
