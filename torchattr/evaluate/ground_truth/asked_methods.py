"""The methods that are compared: how each is made, and what bounds its cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import nn

from torchattr.core.squares import squares
from torchattr.errors import InputError, InputTypeError
from torchattr.evaluate.ground_truth.asked_pictures import AskedPictures
from torchattr.methods import Attribution, build, class_of, name_of, registered_methods

Maker: TypeAlias = Callable[[nn.Module], Attribution]
Methods: TypeAlias = (
    "str | type[Attribution] | Sequence[str | type[Attribution]] | Mapping[str, Maker] | None"
)
"""Names and classes, or functions from a model to a method by name; `None` is all of them."""

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
    """A method by its name in tables, and how it is made for a model."""

    name: str
    make: Maker

    def options(self, pictures: AskedPictures, *, briefly: bool = False) -> dict[str, Any]:
        """Return the options of its `attribute`: what bounds its cost, and the activation.

        Args:
            pictures: what is explained.
            briefly: only to see whether the method fits: few samples of few features.
        """
        samples, cells = SAMPLES.get(self.name, {}), CELLS.get(self.name)
        most = FEW_SAMPLES if briefly else max(samples.values(), default=0)
        options: dict[str, Any] = {name: min(count, most) for name, count in samples.items()}
        if cells is not None:
            options["feature_mask"] = squares(pictures.inputs, FEW_CELLS if briefly else cells)
        if self.name == "rise":
            options["activation"] = pictures.activation
        return options

    @property
    def settings(self) -> str:
        """What bounds its cost, as text; empty for the defaults."""
        cells = CELLS.get(self.name)
        samples = [f"{option}={value}" for option, value in SAMPLES.get(self.name, {}).items()]
        return ", ".join([*([f"{cells} x {cells} cells"] if cells else []), *samples])


def asked_methods(methods: Methods) -> list[AskedMethod]:
    """Return the methods by name.

    Raises:
        InputError: there are none, or two of one name.
        InputTypeError: something else than a name, a class, or a function by its name.
        RegistryError: an unknown name.
    """
    asked = list(_each(methods))
    names = [one.name for one in asked]
    if not asked:
        raise InputError("methods is empty; name some, or pass None for all that are registered")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"methods has {name} {names.count(name)} times; name it once")
    return asked


def _each(methods: Methods) -> Iterator[AskedMethod]:
    if isinstance(methods, Mapping):
        yield from (AskedMethod(name, _checked(name, make)) for name, make in methods.items())
        return
    chosen = sorted(registered_methods()) if methods is None else methods
    for one in [chosen] if isinstance(chosen, (str, type)) else chosen:
        yield AskedMethod(name_of(one), _maker(one))


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


def _maker(method: Any) -> Maker:
    is_class = isinstance(method, type) and issubclass(method, Attribution)
    if not is_class and not isinstance(method, str):
        raise InputTypeError(
            "methods must hold names or classes of methods, since each is made for the networks"
            f" that are benchmarked, or map names to functions of a model; got {method!r}"
        )
    cls = class_of(method)
    return lambda model: build(cls, model)
