"""Methods by name, for `explain`, the command line and the viewer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from torchattr.core.registry import Registry
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.errors import InputError, InputTypeError, Listing, WayOut
from torchattr.methods.base import Attribution, described

M = TypeVar("M", bound=type[Attribution])

_ALL_METHODS = WayOut(
    "all are listed by {setting}", "method", Listing("torchattr.methods.registered_methods()")
)
"""Where the methods are listed."""

METHODS: Registry[type[Attribution]] = Registry(
    "method", group="torchattr.methods", listed=_ALL_METHODS
)


def register_method(name: str) -> Callable[[M], M]:
    """Register the decorated :class:`Attribution` under a name.

    Its `attribute` must take `inputs`, `target` and `additional_forward_args`. Installed packages
    name the module that registers theirs in the entry point group `torchattr.methods`. A file that
    is executed again, as in a notebook, replaces its own method.

    Raises:
        RegistryError: the name is taken.

    >>> import torch, torchattr as ta
    >>> @ta.register_method("signed_gradient")
    ... class SignedGradient(ta.GradientAttribution):
    ...     def finish(self, inputs, grads):
    ...         return grads.sign()
    >>> ta.explain(lambda x: -2 * x, torch.ones(1, 1), ["signed_gradient"])["signed_gradient"]
    tensor([[[-1.]]])
    """
    return METHODS.register(name)


def registered_methods() -> dict[str, type[Attribution]]:
    """Return a snapshot of all methods: `{name: class}`.

    >>> registered_methods()["saliency"].__name__
    'Saliency'
    """
    return METHODS.snapshot()


def find_method(name: str) -> type[Attribution]:
    """Return the method of a name.

    Raises:
        RegistryError: an unknown name; the message lists the closest ones.
    """
    return METHODS[name]


def name_of(method: str | type[Attribution] | Attribution) -> str:
    """Return the registered name of a method, or the name of its class."""
    if isinstance(method, str):
        return method
    cls = class_of(method)
    return METHODS.name_of(cls) or cls.__name__


def names_of(
    methods: Sequence[str | type[Attribution] | Attribution],
    built: Sequence[Attribution],
    options: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Return a name for each of several methods.

    It is that of :func:`name_of`; where several have the same, those that were not given by it say
    how they differ: `lrp (composite='zero')`.

    Args:
        methods: as they were given.
        built: the same ones, for the model.
        options: those of their `attribute`.

    Raises:
        InputError: two have the same settings and options, so that nothing tells them apart.
    """
    plain = [name_of(method) for method in methods]
    settings = [
        described(method._settings() | dict(given))
        for method, given in zip(built, options, strict=True)
    ]
    names = []
    for method, name, own in zip(methods, plain, settings, strict=True):
        same = [other for other, of in zip(settings, plain, strict=True) if of == name]
        differing = ", ".join(
            f"{key}={value}"
            for key, value in own.items()
            if any(other.get(key) != value for other in same)
        )
        names.append(name if isinstance(method, str) or not differing else f"{name} ({differing})")
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"methods has {name} {names.count(name)} times with the same settings; name it"
                " once, or explain one after the other what differs in other ways"
            )
    return names


def build(
    method: str | type[Attribution] | Attribution,
    model: Forward,
    *,
    layer: Layers | None = None,
    rules: Any = None,
    output: OutputKey = None,
    options: Mapping[str, Any] | None = None,
) -> Attribution:
    """Construct a method for a model, with those of the arguments that it accepts.

    Further `rules` are passed only to methods that have rules themselves; the others keep the plain
    gradient. `options` are further arguments and take precedence. An object is returned as it is.
    """
    if isinstance(method, Attribution):
        return method
    cls = class_of(method)
    offered: dict[str, Any] = {"layer": layer, "output": output}
    if getattr(cls, "rules", None):
        offered["rules"] = rules
    accepted = {name: value for name, value in offered.items() if takes(cls, name)}
    return cls(model, **(accepted | dict(options or {})))


def class_of(method: str | type[Attribution] | Attribution) -> type[Attribution]:
    """Return the class of a method that is given by name, as a class or as an object.

    >>> class_of("saliency").__name__
    'Saliency'
    """
    if isinstance(method, str):
        return find_method(method)
    cls = method if isinstance(method, type) else type(method)
    if not issubclass(cls, Attribution):
        raise InputTypeError(
            "a method must be a name, such as 'saliency', a class or an object of one, got"
            f" {type(method).__name__}"
        )
    return cls


def each_method(methods: Any) -> list[Any]:
    """Return one or several methods as a list: names, classes or objects.

    Raises:
        InputTypeError: something else.
        RegistryError: an unknown name.

    >>> each_method("saliency")
    ['saliency']
    """
    single = isinstance(methods, (str, type, Attribution))
    if not single and (not isinstance(methods, Iterable) or isinstance(methods, bytes)):
        raise InputTypeError(
            "methods must be a name, a class or an object of a method, or a sequence of them, got"
            f" {type(methods).__name__}"
        )
    listed = [methods] if single else list(methods)
    for method in listed:
        class_of(method)
    return listed


def takes(method: str | type[Attribution], argument: str) -> bool:
    """Whether a method's constructor accepts an argument of this name, such as `layer`."""
    return argument in inspect.signature(class_of(method)).parameters
