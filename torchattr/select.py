"""The one place that knows how a layer is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from torchattr._types import Layer
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
    named = {name.replace(COMPILED, ""): part for name, part in module.named_modules()}
    named.pop("_orig_mod", None)
    return {name: part for name, part in named.items() if name}


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
        raise LayerError(f"the model has no layer {layer!r}; {_closest(layer, names)}")
    return layer, names[layer]


def find_layers(model: Any, layers: Layer | Sequence[Layer]) -> dict[str, nn.Module]:
    """Give several layers by name; a name may hold the wildcards `*`, `?` and `[...]`.

    Raises:
        LayerError: a name or pattern that no layer has.
    """
    found: dict[str, nn.Module] = {}
    several = [layers] if isinstance(layers, (str, nn.Module)) else layers
    for layer in several:
        found.update(_matching(model, layer))
    return found


def _matching(model: Any, layer: Layer) -> dict[str, nn.Module]:
    if not isinstance(layer, str) or not set(layer) & set("*?["):
        return dict([find_layer(model, layer)])
    names = layer_names(model)
    found = {name: part for name, part in names.items() if fnmatchcase(name, layer)}
    if not found:
        raise LayerError(f"no layer matches {layer!r}; {_closest(layer, names)}")
    return found


def _closest(layer: str, names: Mapping[str, nn.Module]) -> str:
    if not names:
        return "it is a function, whose layers can be given as modules only"
    close = get_close_matches(layer, names, n=3, cutoff=0.4)
    if close:
        return f"did you mean {', '.join(map(repr, close))}?"
    return f"its layers are {', '.join(map(repr, list(names)[:8]))}, ..."


def _type(module: nn.Module) -> str:
    return type(module).__name__
