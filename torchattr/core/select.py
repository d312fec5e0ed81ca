"""The one place that knows how a layer is named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from torchattr.core.types import Layer, Layers, Selection
from torchattr.errors import InputTypeError, LayerError

COMPILED = "_orig_mod."


def layer_names(model: Any) -> dict[str, nn.Module]:
    """Give every named part of a model; a compiled model's parts have their original names.

    >>> list(layer_names(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())))
    ['0', '1']
    """
    module = getattr(model, "__self__", model)
    if not isinstance(module, nn.Module):
        return {}
    named: dict[str, nn.Module] = {}
    for name, part in module.named_modules():
        # A compiled part and the original within it share a name, which the outer one takes.
        named.setdefault(f"{name}.".replace(COMPILED, "")[:-1], part)
    named.pop("", None)
    return named


def find_layer(model: Any, layer: Layer) -> tuple[str, nn.Module]:
    """Give the name and module of one layer.

    Args:
        model: the model, or a function; a function's layers can be given as modules only.
        layer: a name such as `"layer4.1.conv2"`, or the module itself.

    Raises:
        LayerError: no layer has this name; the message holds the closest ones.
        InputTypeError: neither a name nor a module.
    """
    names = layer_names(model)
    if isinstance(layer, nn.Module):
        return next((name for name, part in names.items() if part is layer), _type(layer)), layer
    if not isinstance(layer, str):
        raise InputTypeError(f"layer must be a name or a module, got {type(layer).__name__}")
    if layer not in names:
        raise LayerError(missing(layer, names))
    return layer, names[layer]


def find_layers(model: Any, layers: Layers) -> dict[str, nn.Module]:
    """Give several layers by name.

    Args:
        model: the model.
        layers: a name; a name with the wildcards `*`, `?` and `[...]`; a compiled regular
            expression, searched for in the names; a class of modules; an index or slice into the
            layers without parts of their own, in the order in which the model lists them; a
            module; or a sequence of these.

    Raises:
        LayerError: a name, pattern, class or index that no layer has.
        InputTypeError: something else.

    >>> model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 1))
    >>> list(find_layers(model, nn.Conv2d)), list(find_layers(model, slice(1, None)))
    (['0', '2'], ['1', '2'])
    """
    names = layer_names(model)
    found: dict[str, nn.Module] = {}
    for selection in as_selections(layers):
        if isinstance(selection, nn.Module):
            found.update([find_layer(model, selection)])
            continue
        matching = match(names, selection)
        if not matching:
            raise LayerError(missing(selection, names))
        found.update(matching)
    return found


def as_selections(layers: Layers) -> list[Selection]:
    """Give one or several selections as a list.

    Raises:
        InputTypeError: something that selects no layer.
    """
    several: list[Any] = list(layers) if isinstance(layers, (list, tuple)) else [layers]
    for one in several:
        is_class = isinstance(one, type) and issubclass(one, nn.Module)
        if not is_class and (not isinstance(one, _SELECTIONS) or isinstance(one, bool)):
            raise InputTypeError(
                f"a layer must be a name, a pattern, a module, a class of modules, an index or a"
                f" slice, got {one!r}"
            )
    return several


_SELECTIONS = (str, nn.Module, re.Pattern, int, slice)


def match(names: Mapping[str, nn.Module], selection: Selection) -> dict[str, nn.Module]:
    """Give the named layers that a selection means; none if it means no layer."""
    if isinstance(selection, (int, slice)):
        return _at(names, selection)
    if isinstance(selection, (str, re.Pattern)):
        return {name: part for name, part in names.items() if name_matches(name, selection)}
    if isinstance(selection, nn.Module):
        return {name: part for name, part in names.items() if part is selection}
    return {name: part for name, part in names.items() if isinstance(part, selection)}


def name_matches(name: str, selection: str | re.Pattern[str]) -> bool:
    """Tell whether a name is the selected one, or fits the pattern.

    >>> name_matches("layer1.0", "layer1.*"), name_matches("layer1.0", re.compile("0$"))
    (True, True)
    """
    if isinstance(selection, re.Pattern):
        return selection.search(name) is not None
    return name == selection or (is_pattern(selection) and fnmatchcase(name, selection))


def is_pattern(name: str) -> bool:
    """Tell whether a name holds wildcards."""
    return bool(set(name) & set("*?["))


def missing(selection: Any, names: Iterable[str]) -> str:
    """Say that a selection means none of these layers, and which come closest."""
    names = list(names)
    if isinstance(selection, str) and not is_pattern(selection):
        return f"the model has no layer {selection!r}; {_closest(selection, names)}"
    if isinstance(selection, str):
        return f"no layer matches {selection!r}; {_closest(selection, names)}"
    if isinstance(selection, re.Pattern):
        return f"no layer matches {selection.pattern!r}; {_closest(selection.pattern, names)}"
    if isinstance(selection, type):
        return f"the model has no layer of class {selection.__name__}"
    return f"the model has no layer at index {selection}; {_closest('', names)}"


def _at(names: Mapping[str, nn.Module], index: int | slice) -> dict[str, nn.Module]:
    leaves = [name for name, part in names.items() if next(part.children(), None) is None]
    if isinstance(index, int):
        inside = -len(leaves) <= index < len(leaves)
        return {leaves[index]: names[leaves[index]]} if inside else {}
    return {name: names[name] for name in leaves[index]}


def _closest(layer: str, names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return "it is a function, whose layers can be given as modules only"
    close = get_close_matches(layer, names, n=3, cutoff=0.4)
    if close:
        return f"did you mean {', '.join(map(repr, close))}?"
    return f"its layers are {', '.join(map(repr, names[:8]))}, ..."


def _type(module: nn.Module) -> str:
    return type(module).__name__
