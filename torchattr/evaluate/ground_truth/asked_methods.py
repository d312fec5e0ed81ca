"""The methods that are compared: how each is made, and what bounds its cost."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from torch import nn

from torchattr.core.arguments import is_iterable
from torchattr.core.registry import OPTIONS_CUTOFF, suggest
from torchattr.core.squares import square_features
from torchattr.errors import InputError, InputTypeError
from torchattr.evaluate.ground_truth.asked_pictures import AskedPictures
from torchattr.methods import (
    Attribution,
    build,
    class_of,
    name_of,
    registered_methods,
    takes,
)

Maker: TypeAlias = Callable[[nn.Module], Attribution]
Methods: TypeAlias = (
    "str | type[Attribution] | Sequence[str | type[Attribution]] | Mapping[str, Maker] | None"
)
"""Names and classes, or functions from a model to a method by name; `None` is all of them."""

Options: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Options of methods by the name of each: arguments of its constructor or of its `attribute`."""

SAMPLES: Mapping[str, Mapping[str, int]] = {
    "is_cam": {"n_steps": 2},
    "kernel_shap": {"n_samples": 128},
    "lime": {"n_samples": 128},
    "rise": {"n_masks": 128},
    "shapley_value_sampling": {"n_samples": 4},
    "ss_cam": {"n_samples": 2},
}
"""Options that bound the cost of a method to few hundreds of forwards for each picture."""

CELLS: Mapping[str, int] = {
    "feature_ablation": 16,
    "kernel_shap": 8,
    "lime": 8,
    "shapley_value_sampling": 8,
    "shapley_values": 3,
}
"""Cells in a row and in a column, for the methods that replace features."""


FEW_SAMPLES, FEW_CELLS = 8, 2
"""What is enough to see whether a method fits a network."""


@dataclass(frozen=True)
class AskedMethod:
    """A method by its name in tables, and how it is made for a model.

    Attributes:
        name: its name.
        make: makes it.
        made: options that it is made with.
        called: options of its `attribute`, over those that bound its cost.
    """

    name: str
    make: Maker
    made: Mapping[str, Any] = field(default_factory=dict)
    called: Mapping[str, Any] = field(default_factory=dict)

    def options(self, pictures: AskedPictures, *, briefly: bool = False) -> dict[str, Any]:
        """Return the options of its `attribute`: what bounds its cost, and the activation.

        Args:
            pictures: what is explained.
            briefly: only to see whether the method fits: few samples of few features.
        """
        options = self._bounded
        if briefly:
            few = {**dict.fromkeys(SAMPLES.get(self.name, ()), FEW_SAMPLES), _CELLS: FEW_CELLS}
            options |= {
                name: min(options[name], most)
                for name, most in few.items()
                if isinstance(options.get(name), int)
            }
        if self.name == "rise":
            options.setdefault("activation", pictures.activation)
        return square_features(options, pictures.inputs)

    @property
    def settings(self) -> str:
        """What bounds its cost and which options were given, as text; empty for the defaults."""
        options = self._bounded
        cells = options.pop(_CELLS, None)
        across = f"{cells} x {cells} cells" if isinstance(cells, int) else f"{_CELLS}={cells}"
        others = [f"{name}={value}" for name, value in {**self.made, **options}.items()]
        return ", ".join([*([across] if cells is not None else []), *others])

    @property
    def _bounded(self) -> dict[str, Any]:
        cells = CELLS.get(self.name)
        own = {} if cells is None else {_CELLS: cells}
        return {**own, **SAMPLES.get(self.name, {}), **self.called}


_CELLS = "feature_mask"
"""The option that takes a number of cells in a row and in a column."""


def asked_methods(methods: Methods, options: Options | None = None) -> list[AskedMethod]:
    """Return the methods by name.

    Args:
        methods: the methods.
        options: options of some of them, by name.

    Raises:
        InputError: there are none, or two of one name, or an option that a method has not.
        InputTypeError: something else than a name, a class, or a function by its name.
        RegistryError: an unknown name.
    """
    given = options or {}
    asked = list(_each(methods, given))
    names = [one.name for one in asked]
    if not asked:
        raise InputError("methods is empty; name some, or pass None for all that are registered")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"methods has {name} {names.count(name)} times; name it once")
    for name in given:
        if name not in names:
            raise InputError(
                f"options has {name!r}, which is not among the methods; {suggest(name, names)}"
            )
    return asked


def _each(methods: Methods, options: Options) -> Iterator[AskedMethod]:
    if isinstance(methods, Mapping):
        for name, make in methods.items():
            yield AskedMethod(name, _checked(name, make), called=options.get(name, {}))
        return
    chosen = sorted(registered_methods()) if methods is None else methods
    single = isinstance(chosen, (str, type)) or not is_iterable(chosen)
    for one in cast("Sequence[Any]", [chosen] if single else chosen):
        yield _with_options(one, options)


def _with_options(method: Any, given: Options) -> AskedMethod:
    """Return a method with options of its constructor and of its `attribute`.

    Raises:
        InputError: an option that it has not.
    """
    cls, name = _class(method), name_of(method)
    options = given.get(name, {})
    made = {option: value for option, value in options.items() if takes(cls, option)}
    called = {option: value for option, value in options.items() if option not in made}
    known = inspect.signature(cls.attribute).parameters
    for option in called:
        if option not in known:
            raise InputError(
                f"options has {option!r} for {name}, which is no option of it;"
                f" {suggest(option, list(known), cutoff=OPTIONS_CUTOFF)}"
            )
    return AskedMethod(name, lambda model: build(cls, model, options=made), made, called)


def _checked(name: Any, make: Any) -> Maker:
    """Return a function of the user's that names itself where it makes no method."""
    if not isinstance(name, str) or not callable(make):
        raise InputTypeError(
            "methods must map names to functions that make a method for a model, such as"
            f" {{'smooth_grad': lambda net: NoiseTunnel(Saliency(net))}}, got {name!r}: {make!r}"
        )

    def checked(model: nn.Module) -> Attribution:
        made = make(model)
        if not isinstance(made, Attribution):
            raise InputTypeError(
                f"methods has a function for {name!r} that must return a method, but it returned"
                f" {type(made).__name__}"
            )
        return made

    return checked


def _class(method: Any) -> type[Attribution]:
    is_class = isinstance(method, type) and issubclass(method, Attribution)
    if not is_class and not isinstance(method, str):
        raise InputTypeError(
            "methods must hold names or classes of methods, since each is made for the networks"
            f" that are benchmarked, or map names to functions of a model; got {method!r}"
        )
    return class_of(method)
