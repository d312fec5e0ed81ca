"""The one place that knows how a layer is named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from torchattr.core.arguments import plain_numbers
from torchattr.core.types import Layer, Layers, Selection
from torchattr.errors import InputTypeError, LayerError

COMPILED = "_orig_mod."


def original_name(name: str) -> str:
    """Return the name of a module without what compiling added to it.

    >>> original_name("_orig_mod.layer1._orig_mod"), original_name("_orig_mod")
    ('layer1', '')
    """
    return f"{name}.".replace(COMPILED, "")[:-1]


def layer_names(model: Any) -> dict[str, nn.Module]:
    """Return every named submodule of a model; those of a compiled model have their original names.

    >>> list(layer_names(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())))
    ['0', '1']
    """
    module = getattr(model, "__self__", model)
    if not isinstance(module, nn.Module):
        return {}
    named: dict[str, nn.Module] = {}
    for name, submodule in module.named_modules():
        # A compiled module and the original within it share a name, which the outer one takes.
        named.setdefault(original_name(name), submodule)
    named.pop("", None)
    return named


def find_layer(model: Any, layer: Layer) -> tuple[str, nn.Module]:
    """Return the name and module of one layer.

    Args:
        model: the model, or a function; a function's layers can be given as modules only.
        layer: a name such as `"layer4.1.conv2"`, or with wildcards, that one layer matches; or the
            module itself.

    Raises:
        LayerError: no layer has this name, or several match it; the message lists the closest ones.
        InputTypeError: neither a name nor a module.

    >>> find_layer(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), "[1-9]")[0]
    '1'
    """
    names = layer_names(model)
    if isinstance(layer, nn.Module):
        name = next((name for name, module in names.items() if module is layer), _type(layer))
        return name, layer
    if not isinstance(layer, str):
        raise InputTypeError(f"layer must be a name or a module, got {type(layer).__name__}")
    matching = [layer] if layer in names else list(match(names, layer))
    if not matching:
        raise LayerError(missing(layer, names))
    if len(matching) > 1:
        shown = ", ".join(map(repr, matching[:_SHOWN])) + ", ..." * (len(matching) > _SHOWN)
        raise LayerError(f"layer {layer!r} matches {len(matching)} layers, {shown}; name one")
    return matching[0], names[matching[0]]


def find_layers(model: Any, layers: Layers) -> dict[str, nn.Module]:
    """Return several layers by name.

    Args:
        model: the model.
        layers: a name; a name with the wildcards `*`, `?` and `[...]`; a compiled regular
            expression, searched for in the names; a class of modules; an index or slice into the
            layers without children, in the order in which the model lists them; a module; or a
            sequence of these.

    Raises:
        LayerError: a name, pattern, class or index that no layer has.
        InputTypeError: any other type.

    >>> model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 1))
    >>> list(find_layers(model, nn.Conv2d)), list(find_layers(model, slice(1, None)))
    (['0', '2'], ['1', '2'])
    """
    names = layer_names(model)
    selected: dict[str, nn.Module] = {}
    for selection in as_selections(layers):
        if isinstance(selection, nn.Module):
            selected.update([find_layer(model, selection)])
            continue
        matching = match(names, selection)
        if not matching:
            raise LayerError(missing(selection, names))
        selected.update(matching)
    return selected


def as_selections(layers: Layers) -> list[Selection]:
    """Return one or several selections as a list.

    Raises:
        InputTypeError: something that cannot select a layer.
    """
    layers = plain_numbers(layers)
    selections: list[Any] = list(layers) if isinstance(layers, (list, tuple)) else [layers]
    for selection in selections:
        is_class = isinstance(selection, type) and issubclass(selection, nn.Module)
        if not is_class and (not isinstance(selection, _SELECTIONS) or isinstance(selection, bool)):
            raise InputTypeError(
                f"a layer must be a name, a pattern, a module, a class of modules, an index or a"
                f" slice, got {_described(selection)}"
            )
    return selections


def _described(selection: Any) -> str:
    if isinstance(selection, Tensor):
        return f"{type(selection).__name__} of shape {tuple(selection.shape)}; name its module"
    return repr(selection)


_SHOWN = 8
_SELECTIONS = (str, nn.Module, re.Pattern, int, slice)


def match(names: Mapping[str, nn.Module], selection: Selection) -> dict[str, nn.Module]:
    """Return the layers that match a selection, by name; empty if none does."""
    if isinstance(selection, (int, slice)):
        return _at(names, selection)
    if isinstance(selection, (str, re.Pattern)):
        return {name: module for name, module in names.items() if name_matches(name, selection)}
    if isinstance(selection, nn.Module):
        return {name: module for name, module in names.items() if module is selection}
    return {name: module for name, module in names.items() if isinstance(module, selection)}


def name_matches(name: str, selection: str | re.Pattern[str]) -> bool:
    """Whether a name equals the selected one or matches the pattern.

    >>> name_matches("layer1.0", "layer1.*"), name_matches("layer1.0", re.compile("0$"))
    (True, True)
    """
    if isinstance(selection, re.Pattern):
        return selection.search(name) is not None
    return name == selection or (is_pattern(selection) and fnmatchcase(name, selection))


def is_pattern(name: str) -> bool:
    """Whether a name contains wildcards."""
    return bool(set(name) & set("*?["))


def missing(selection: Any, names: Iterable[str]) -> str:
    """Return the message that no layer matches a selection, with the closest names."""
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
    leaves = [name for name, module in names.items() if next(module.children(), None) is None]
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
    return f"its layers are {', '.join(map(repr, names[:_SHOWN]))}, ..."


def _type(module: nn.Module) -> str:
    return type(module).__name__
