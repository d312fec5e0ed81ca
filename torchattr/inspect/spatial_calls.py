"""The calls of layers and operations whose outputs are feature maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.select import as_selections
from torchattr.core.types import Forward, Layers
from torchattr.errors import LayerError
from torchattr.inspect.map_layout import maps_shape, no_maps_error, spatial_layout
from torchattr.inspect.recording.recording import CODES, Recording
from torchattr.layers import Layout


def spatial_calls(
    model: Forward, inputs: Tensor, layers: Layers, additional_forward_args: Any = None
) -> dict[str, torch.Size]:
    """Return the calls of layers and operations that have spatial dimensions: name and shape.

    The shape is that of one example, `(channels, spatial...)`. Several calls are numbered,
    `block.relu#1` and `block.relu#2`. Codes and patterns skip calls without spatial dimensions.

    Args:
        model: the model, which runs once.
        inputs: `(N, C, ...)`.
        layers: see :func:`torchattr.feature_maps`.
        additional_forward_args: see :class:`Attribution`.

    Raises:
        LayerError: a layer that is unknown, did not run, or is named but not spatial.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.ReLU())
    >>> spatial_calls(model, torch.rand(1, 3, 8, 8), "r")
    {'1': torch.Size([4, 6, 6])}
    """
    given = as_inputs(inputs, differentiable=False)
    recording = Recording(model, given.tensors, as_arguments(additional_forward_args), layers)
    asked = {one for one in as_selections(layers) if isinstance(one, str) and one not in CODES}
    shapes = {}
    for name, calls in recording.calls.items():
        for number, call in enumerate(calls, 1):
            layout = spatial_layout(call, given.tensors)
            if isinstance(layout, Layout):
                key = f"{name}#{number}" if len(calls) > 1 else name
                shapes[key] = torch.Size(maps_shape(call, layout))
            elif name in asked:
                raise no_maps_error(name, call, layout)
    if not shapes:
        raise LayerError("none of these layers has an output with spatial dimensions; name others")
    return shapes
