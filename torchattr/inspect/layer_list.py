"""The layers of a model, with their types, options and output shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from torchattr.core.outputs import any_output
from torchattr.core.select import layer_names
from torchattr.inspect.map_layout import maps_layout, maps_shape
from torchattr.layers import Captured, Layout, TapPoint, Trace


@dataclass(frozen=True)
class LayerRow:
    """A layer: its name, type, options, and its output in its last call.

    Attributes:
        shape: of the output; `None` unless it is one tensor.
        maps: the shape of its feature maps for one example, `(channels, spatial...)`.
        why: why it has no feature maps; empty if it has.
    """

    name: str
    type: str
    description: str
    shape: tuple[int, ...] | None
    calls: int
    maps: tuple[int, ...] | None = None
    why: str = ""

    @property
    def depth(self) -> int:
        return self.name.count(".")


def list_layers(model: nn.Module, inputs: Tensor) -> list[LayerRow]:
    """Return the layers of a model with their output shapes in one forward of `inputs`.

    A layer without a call, or whose output is not one tensor, has the shape `None`.

    Raises:
        ScriptedModelError: a part of the model hides its operations.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    >>> rows = list_layers(model, torch.ones(1, 3, 2, 2))
    >>> [(row.name, row.type, row.shape) for row in rows]
    [('0', 'Flatten', (1, 12)), ('1', 'Linear', (1, 2))]
    """
    names = layer_names(model)
    taps = {
        name: TapPoint(module, with_layout=True, with_values=False)
        for name, module in names.items()
    }
    trace = Trace(model, (inputs,), taps=list(taps.values()), key=any_output, differentiable=False)
    return [_row(name, tap.module, trace.calls(tap), inputs) for name, tap in taps.items()]


def _row(name: str, module: nn.Module, calls: Sequence[Captured], inputs: Tensor) -> LayerRow:
    shape, maps, why = None, None, "it did not run"
    if calls:
        last = calls[-1]
        layout = maps_layout(last, (inputs,))
        shape = tuple(last.shapes[0]) if last.form == 0 else None
        if isinstance(layout, Layout) and layout.sizes:
            maps, why = maps_shape(last, layout), ""
        else:
            why = layout if isinstance(layout, str) else "it has no spatial dimensions"
    description = module.extra_repr().replace("\n", " ")
    return LayerRow(name, type(module).__name__, description, shape, len(calls), maps, why)
