"""The choice of layers, and of the calls of a layer that runs several times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from torchattr.core.arguments import check_choice
from torchattr.core.inputs import Inputs
from torchattr.core.pytree import joined
from torchattr.core.select import find_layers
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.core.warn import warn
from torchattr.errors import Hint, LayerReuseWarning, WayOut
from torchattr.methods._gradient.default_layer import default_layer

Calls = Literal["last", "first", "sum", "each"]

_CHOOSE_CALLS = WayOut("choose 'last', 'first', 'sum' or 'each' with {setting}", "calls")


class LayerChoice:
    """The layers that a method uses, and which call counts if a layer is called several times.

    Args:
        model: the model.
        layer: a name, pattern or module, several of them, or `None` for the last spatial layer.
        calls: which call of a layer counts if there are several: the `last` (with a warning), the
            `first`, the `sum` of their results, or `each` as a tuple.

    Attributes:
        several: whether results are a dict by layer.
        settings: the arguments, by name.
    """

    def __init__(self, model: Forward, layer: Layers | None, calls: Calls | None) -> None:
        if calls is not None:
            check_choice("calls", calls, get_args(Calls))
        self._model = model
        self._named = {} if layer is None else _named(model, layer)
        self._calls = calls
        self.settings = {"layer": layer, "calls": calls}
        self.several = isinstance(layer, (list, tuple)) or len(self._named) > 1

    def resolve(
        self, inputs: Inputs, arguments: Sequence[Any], key: OutputKey, target: Any = None
    ) -> dict[str, nn.Module]:
        """Return the layers by name; without a choice, the last spatial one for these inputs."""
        if self._named:
            return self._named
        return dict([default_layer(self._model, inputs, arguments, key, target)])

    def pick(
        self, name: str, calls: Sequence[Any], result: Callable[[Any], Any] = lambda call: call
    ) -> Any:
        """Return the result of the calls of a layer that count.

        Args:
            name: the layer's name.
            calls: the calls.
            result: computes the result of one call.
        """
        return self.gathered([result(calls[number]) for number in self.counted(name, len(calls))])

    def gathered(self, found: Sequence[Any]) -> Any:
        """Return the result of the calls that count, given that of each of them."""
        if self._calls == "each":
            return tuple(found)
        return joined(found, _summed) if self._calls == "sum" else found[0]

    def counted(self, name: str, count: int) -> Sequence[int]:
        """Return which of the calls of a layer count, by number.

        Args:
            name: the layer's name.
            count: how often it was called.
        """
        if self._calls in ("each", "sum"):
            return range(count)
        if count > 1 and self._calls is None:
            warn(
                f"layer {name!r} was called {count} times; the last call is used",
                LayerReuseWarning,
                Hint(ways_out=[_CHOOSE_CALLS]),
            )
        return [0 if self._calls == "first" else count - 1]

    def form(self, results: dict[str, Any]) -> Any:
        """Return a dict by name if several layers were chosen, else the only result."""
        return results if self.several else next(iter(results.values()))


def _named(model: Forward, layer: Layers) -> dict[str, nn.Module]:
    """Return layers by name; a function has no names for its modules, so types are numbered.

    Raises:
        LayerError: a name or pattern that no layer has.
    """
    named: dict[str, nn.Module] = {}
    for selection in layer if isinstance(layer, (list, tuple)) else [layer]:
        for name, module in find_layers(model, selection).items():
            taken = named.get(name, module) is not module
            named[f"{name} {len(named)}" if taken else name] = module
    return named


def _summed(calls: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(calls)).sum(0)
