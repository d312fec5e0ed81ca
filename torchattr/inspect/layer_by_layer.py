"""Grad-CAM or Guided Grad-CAM of many layers for the same target, from one forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image
from torch import Tensor, nn

from torchattr.core.arguments import checked_flags
from torchattr.core.inputs import Inputs, as_arguments, as_inputs
from torchattr.core.outputs import any_output
from torchattr.core.printable import listed
from torchattr.core.pytree import tensors_of
from torchattr.core.select import as_selections, find_layers, layer_names
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.errors import Hint, InputError, LayerError, ShapeError, WayOut
from torchattr.inspect.drawing import (
    CELL,
    SIGNAL_NOTE,
    draw_input,
    draw_signal,
    photo_size,
    signal_legend,
)
from torchattr.inspect.map_layout import no_maps_error, spatial_layout
from torchattr.layers import Captured, Layout, TapPoint, Trace
from torchattr.methods import Calls, GradCAM, GuidedGradCAM
from torchattr.show import (
    BAR,
    LIGHT,
    NO_HEAD,
    OVERLAY,
    CaptionedGrid,
    Drawing,
    FigureHead,
    GridCell,
    Legend,
    Look,
    as_floats,
    as_picture,
    notebook,
    resize_map,
    short_number,
)

Method = Literal["grad_cam", "guided_grad_cam"]


@dataclass(frozen=True)
class LayerMaps(Mapping[str, Tensor]):
    """The map of each layer by name, in the order in which the layers ran.

    Attributes:
        maps: `(N, 1, h, w)` in the layer's own resolution for Grad-CAM, shaped like the inputs for
            Guided Grad-CAM.
        method: `"grad_cam"` or `"guided_grad_cam"`.
        inputs: the explained inputs.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
    >>> maps = ta.layer_by_layer(model, torch.rand(1, 3, 8, 8), target=7)
    >>> {name: tuple(one.shape) for name, one in maps.items()}
    {'0': (1, 1, 6, 6)}
    """

    maps: Mapping[str, Tensor]
    method: Method
    inputs: Tensor

    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self.maps:
            raise KeyError(f"no map of layer {layer!r}; available: {', '.join(self.maps)}")
        return self.maps[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.maps)

    def __len__(self) -> int:
        return len(self.maps)

    def __repr__(self) -> str:
        return f"LayerMaps({self.method}: {listed(self.maps)})"

    def _repr_html_(self) -> str:
        return notebook(
            self, lambda: ((f"example {one}", self.picture(one)) for one in range(len(self.inputs)))
        )

    def picture(self, example: int = 0, **options: Any) -> Image.Image:
        """Return the same as :meth:`draw`, with its options, as an RGB picture."""
        return self.draw(example, **options).image()

    def draw(
        self,
        example: int = 0,
        *,
        image: Any = None,
        columns: int | None = None,
        cell: int = CELL,
        target: str = "",
        head: FigureHead = NO_HEAD,
        look: Look = LIGHT,
    ) -> Drawing:
        """Draw the maps of one example on a grid, each captioned with its layer and size.

        Grad-CAM is overlaid on the picture, Guided Grad-CAM drawn around mid grey. Each map is
        scaled independently.

        Args:
            example: index in the batch.
            image: the picture to lay the maps over, see :func:`torchattr.show.as_picture`; the
                default stretches the model's input over all brightnesses.
            columns: number of columns; `None` makes the grid nearly square.
            cell: minimum length of each picture's shorter side in units.
            target: the name of the explained class, for the title.
            head: the model and the picture, which head the grid; by default, the input.
            look: light or dark, and the pixels per unit.

        Raises:
            InputError: no such example.
            ShapeError: the inputs are not pictures.
        """
        count = len(self.inputs)
        if not -count <= example < count:
            raise InputError(f"example {example} is out of range for a batch of {count}")
        base = as_picture(draw_input(self.inputs[example]) if image is None else image)
        size = photo_size(base.shape[1], base.shape[0], cell)
        width, height = size
        pixels = look.pixels(width), look.pixels(height)
        shown = Image.fromarray(base).resize(pixels, _SMOOTH)
        tiles = [
            GridCell([self._draw(one, np.asarray(shown))], size, self._caption(name, one), True)
            for name, one in ((name, one[example]) for name, one in self.items())
        ]
        title = f"{TITLES[self.method]} layer by layer" + (f": {target}" if target else "")
        facts = ["in the order in which the layers ran"]
        if head.image is None:
            head = replace(head, image=base)
        legend, note = self._legend()
        return head.draw(CaptionedGrid(tiles, columns), title, facts, [legend], note, look)

    def _draw(self, values: Tensor, base: np.ndarray) -> np.ndarray:
        if self.method == "guided_grad_cam":
            return draw_signal(values)
        return OVERLAY.paint(base, resize_map(OVERLAY.reduce(as_floats(values)), base.shape[:2]))

    def _caption(self, layer: str, values: Tensor) -> list[str]:
        if self.method == "guided_grad_cam":
            return [layer]
        size = " × ".join(map(str, values.shape[1:]))
        return [layer, f"{size} · max {short_number(max(0.0, float(values.max())))}"]

    def _legend(self) -> tuple[Legend, str]:
        if self.method == "guided_grad_cam":
            return signal_legend(self.inputs.shape[1]), SIGNAL_NOTE
        bar = OVERLAY.bar((0, 1), 1, *BAR)
        note = "Each map is scaled by its own largest value, which is below it."
        return Legend(bar, ("0", "max"), OVERLAY.meaning.capitalize()), note


TITLES: Mapping[Method, str] = {"grad_cam": "Grad-CAM", "guided_grad_cam": "Guided Grad-CAM"}

_SMOOTH = Image.Resampling.LANCZOS


@checked_flags
def layer_by_layer(
    model: Forward,
    inputs: Tensor,
    layers: Layers | None = None,
    method: Method = "grad_cam",
    target: Any = None,
    *,
    calls: Calls | None = None,
    rules: Mapping[str, Any] | None = None,
    strict: bool = True,
    interpolate_mode: str = "bilinear",
    output: OutputKey = None,
    additional_forward_args: Any = None,
) -> LayerMaps:
    """Compute Grad-CAM or Guided Grad-CAM of many layers: one forward, one backward (guided: two).

    It shows how the evidence for a class forms from layer to layer. Selvaraju et al. 2017,
    arXiv:1610.02391.

    Grad-CAM is meant for the last layers with spatial dimensions. Maps of early layers, whose mean
    gradient says little, are often diffuse: that does *not* mean that these layers find nothing.

    Args:
        model: the model; it is not modified.
        inputs: `(N, C, ...)`.
        layers: names, patterns or modules; `None` selects all convolutions. A pattern skips
            layers without spatial dimensions.
        method: `"grad_cam"`, rectified as in the paper, or `"guided_grad_cam"`.
        target: as for :class:`Attribution`, one for each example.
        calls: which call of a layer that is called several times to use: `"last"` (the default,
            with a warning), `"first"` or `"sum"`.
        rules: additional rules for the guided part, such as `{"gelu": "guided"}`.
        strict: whether guided rules that match nothing raise or only warn.
        interpolate_mode: interpolation of the map in the product of Guided Grad-CAM.
        output: key of the scores in the model's output.
        additional_forward_args: additional positional arguments of the forward.

    Raises:
        LayerError: an unknown layer, one without spatial dimensions, or no layer at all.
        InputError: an unknown method.
        NoRuleMatched: the model runs nothing that the guided rules rewrite.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> maps = ta.layer_by_layer(model, torch.rand(1, 3, 8, 8), "*", "guided_grad_cam", target=1)
    >>> list(maps), maps["1"].shape
    (['0', '1'], torch.Size([1, 3, 8, 8]))
    """
    if method not in get_args(Method):
        raise InputError(f"method must be 'grad_cam' or 'guided_grad_cam', got {method!r}")
    if calls == "each":
        raise InputError("calls='each' yields several maps per layer; use 'last', 'first' or 'sum'")
    given = as_inputs(inputs)
    if given.is_tuple or given.tensors[0].dim() < 3:
        raise ShapeError("inputs must be one tensor (N, C, ...) with spatial dimensions")
    chosen = _spatial_layers(model, layers, given, additional_forward_args)
    modules = list(chosen.values())
    if method == "grad_cam":
        result = GradCAM(model, modules, calls=calls, output=output).attribute(
            inputs, target, additional_forward_args, relu_attributions=True
        )
    else:
        guided = GuidedGradCAM(
            model, modules, calls=calls, rules=rules, output=output, strict=strict
        )
        result = guided.attribute(
            inputs, target, additional_forward_args, interpolate_mode=interpolate_mode
        )
    # A layer may return its one tensor in a container; its map then comes in one, too.
    maps = {name: tensors_of(value)[0] for name, value in zip(chosen, result.values(), strict=True)}
    return LayerMaps(maps, method, given.tensors[0])


def _spatial_layers(
    model: Forward, layers: Layers | None, inputs: Inputs, additional_forward_args: Any
) -> dict[str, nn.Module]:
    """Return the spatial layers by name in the order in which they first ran."""
    named = _named(model, layers)
    ran = _last_calls(model, list(named.values()), inputs, additional_forward_args)
    names = {module: name for name, module in named.items()}
    found = {m: spatial_layout(call, inputs.tensors) for m, call in ran.items()}
    for name in _asked_for_by_name(named, layers):
        module = named[name]
        if module not in ran:
            raise LayerError(
                f"the layer {name!r} did not run in this forward; choose another layer"
            )
        if isinstance(why := found[module], str):
            raise no_maps_error(name, ran[module], why)
    spatial = {names[m]: m for m, layout in found.items() if isinstance(layout, Layout)}
    if not spatial:
        raise LayerError("none of these layers has an output with spatial dimensions; name others")
    return spatial


def _named(model: Forward, layers: Layers | None) -> dict[str, nn.Module]:
    if layers is not None:
        return find_layers(model, layers)
    found = {name: part for name, part in layer_names(model).items() if _is_convolution(part)}
    if not found:
        raise LayerError(
            "the model has no convolution",
            hint=Hint(ways_out=[WayOut("name the layers with {setting}", "layers")]),
        )
    return found


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.conv._ConvNd)


def _last_calls(
    model: Forward, modules: Sequence[nn.Module], inputs: Inputs, additional_forward_args: Any
) -> dict[nn.Module, Captured]:
    """Return the last output of each layer, in the order in which they first ran."""
    arguments = as_arguments(additional_forward_args)
    taps = [TapPoint(module, with_layout=True, with_values=False) for module in modules]
    trace = Trace(model, inputs.tensors, arguments, taps=taps, key=any_output, differentiable=False)
    return {tap.module: call for tap, call in trace.order}


def _asked_for_by_name(named: Mapping[str, nn.Module], layers: Layers | None) -> list[str]:
    listed = [] if layers is None else as_selections(layers)
    return [n for n, module in named.items() if any(one is module or one == n for one in listed)]
