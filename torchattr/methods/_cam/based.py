"""Methods around another class activation map, which is given by name or class."""

from __future__ import annotations

from typing import Any

from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.errors import InputError
from torchattr.methods._gradient.grids import LayoutChoice
from torchattr.methods._gradient.layer_choice import Calls
from torchattr.methods.class_activation_map import ClassActivationMap
from torchattr.methods.registry import class_of, registered_methods


def based_on(
    base: str | type[ClassActivationMap],
    model: Forward,
    layer: Layers | None,
    *,
    calls: Calls | None,
    layout: LayoutChoice,
    output: OutputKey,
) -> ClassActivationMap:
    """Return the map that a method is made of.

    Raises:
        RegistryError: an unknown name.
        InputError: another kind of method.
    """
    cls: Any = class_of(base)
    if not (isinstance(cls, type) and issubclass(cls, ClassActivationMap)):
        known = registered_methods().items()
        allowed = [name for name, one in known if issubclass(one, ClassActivationMap)]
        raise InputError(
            f"base must be a class activation map, got {base!r}; there are {', '.join(allowed)}"
        )
    made: ClassActivationMap = cls(model, layer, calls=calls, layout=layout, output=output)
    return made
