"""What the methods that look at a layer share: which layer, and which of its calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from torchattr.core.inputs import Inputs
from torchattr.core.select import find_layers
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.core.warn import warn
from torchattr.errors import Hint, InputError, LayerReuseWarning, WayOut
from torchattr.methods._gradient.default_layer import default_layer

Calls = Literal["last", "first", "sum", "each"]

_CHOOSE_CALLS = WayOut("choose 'last', 'first', 'sum' or 'each' with {setting}", "calls")


class LayerChoice:
    """The layers that a method looks at, by name, and the policy for one called several times.

    Args:
        model: the model.
        layer: a name, pattern or module, several of them, or `None` for the last spatial layer.
        calls: which call of a layer counts if the forward makes several: the `last` (with a
            warning), the `first`, the `sum` of what they give, or `each` as a tuple.
    """

    def __init__(self, model: Forward, layer: Layers | None, calls: Calls | None) -> None:
        if calls is not None and calls not in get_args(Calls):
            raise InputError(
                f"calls must be one of {', '.join(map(repr, get_args(Calls)))}, got {calls!r}"
            )
        self._model = model
        self._named = {} if layer is None else _named(model, layer)
        self._calls = calls
        self.several = isinstance(layer, (list, tuple)) or len(self._named) > 1

    def resolve(
        self, inputs: Inputs, arguments: Sequence[Any], key: OutputKey, target: Any = None
    ) -> dict[str, nn.Module]:
        """Return the layers by name; finds the last spatial one when none was named."""
        if self._named:
            return self._named
        return dict([default_layer(self._model, inputs, arguments, key, target)])

    def pick(
        self, name: str, calls: Sequence[Any], result: Callable[[Any], Any] = lambda call: call
    ) -> Any:
        """Return one result out of all the calls of a layer.

        Args:
            name: the layer's name.
            calls: what was recorded of each.
            result: makes the result of one that counts.
        """
        if self._calls == "each":
            return tuple(map(result, calls))
        if self._calls == "sum":
            return _sum(list(map(result, calls)))
        if len(calls) > 1 and self._calls is None:
            warn(
                f"layer {name!r} was called {len(calls)} times; the last call is taken",
                LayerReuseWarning,
                Hint(ways_out=[_CHOOSE_CALLS]),
            )
        return result(calls[0] if self._calls == "first" else calls[-1])

    def form(self, results: dict[str, Any]) -> Any:
        """Give a dict by name where several layers were asked for, else the only result."""
        return results if self.several else next(iter(results.values()))


def _named(model: Forward, layer: Layers) -> dict[str, nn.Module]:
    """Give layers by name; a function does not name its modules, so those of one type are numbered.

    Raises:
        LayerError: a name or pattern that no layer has.
    """
    found: dict[str, nn.Module] = {}
    for one in layer if isinstance(layer, (list, tuple)) else [layer]:
        for name, module in find_layers(model, one).items():
            taken = found.get(name, module) is not module
            found[f"{name} {len(found)}" if taken else name] = module
    return found


def _sum(results: Sequence[Any]) -> Any:
    if isinstance(results[0], Tensor):
        return torch.stack(list(results)).sum(0)
    if isinstance(results[0], dict):
        return {key: _sum([result[key] for result in results]) for key in results[0]}
    return tuple(_sum(column) for column in zip(*results, strict=True))
