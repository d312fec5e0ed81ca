"""Running a model up to chosen places: layers, operations that are none, and single calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.select import as_selections, find_layers, is_pattern, layer_names
from torchattr.core.types import Forward, Layer, Layers
from torchattr.errors import LayerError
from torchattr.inspect.grids import maps_shape, no_maps, places_layout
from torchattr.inspect.receptive_field import any_output
from torchattr.inspect.recording import CODES, Recording
from torchattr.layers import Captured, Layout, RuleTable, TapPoint, Trace
from torchattr.methods import last_call


def run_to(
    model: Forward,
    layer: Layer,
    inputs: Sequence[Tensor],
    arguments: Sequence[Any],
    tables: Sequence[RuleTable],
) -> tuple[str, Trace, Sequence[Captured]]:
    """Run the model once; give the layer's name, the trace, and all calls of the layer.

    Raises:
        LayerError: an unknown layer, one that did not run, or several.
    """
    if not isinstance(layer, str) or layer in layer_names(model) or is_pattern(layer):
        name, module = _one(find_layers(model, layer))
        place = TapPoint(module, read=True)
        trace = Trace(model, inputs, arguments, tables=tables, places=[place], key=any_output)
        last_call(trace, place)
        return name, trace, trace.calls(place)
    recording = Recording(model, inputs, arguments, layer, tables)
    name, calls = _one(recording.calls)
    return name, recording.trace, calls


def calls_with_places(
    model: Forward, inputs: Tensor, layers: Layers, additional_forward_args: Any = None
) -> dict[str, torch.Size]:
    """Give the calls of layers and operations that have places: the name and shape of each.

    A shape is that for one example, `(channels, places...)`.

    Of several calls each has its number, `block.relu#1` and `block.relu#2`. Of codes and patterns
    those without places are left out.

    Args:
        model: the model, which runs once.
        inputs: `(N, C, ...)`.
        layers: see :func:`torchattr.feature_maps`.
        additional_forward_args: see :class:`Attribution`.

    Raises:
        LayerError: a layer that is unknown, did not run, or was named and has no places.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.ReLU())
    >>> calls_with_places(model, torch.rand(1, 3, 8, 8), "r")
    {'1': torch.Size([4, 6, 6])}
    """
    given = as_inputs(inputs, differentiable=False)
    recording = Recording(model, given.tensors, as_arguments(additional_forward_args), layers)
    asked = {one for one in as_selections(layers) if isinstance(one, str) and one not in CODES}
    found = {}
    for name, calls in recording.calls.items():
        for number, call in enumerate(calls, 1):
            layout = places_layout(call, given.tensors)
            if isinstance(layout, Layout):
                key = f"{name}#{number}" if len(calls) > 1 else name
                found[key] = torch.Size(maps_shape(call, layout))
            elif name in asked:
                raise no_maps(name, call, layout)
    if not found:
        raise LayerError("none of these layers has an output with places; name others")
    return found


def _one(named: Mapping[str, Any]) -> tuple[str, Any]:
    if len(named) != 1:
        raise LayerError(f"layer must name one layer, but it names {', '.join(named)}")
    return next(iter(named.items()))
