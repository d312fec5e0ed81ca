"""The kernels of a convolution: a tensor first, a picture second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from torchattr.core.arguments import check_choice
from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.outputs import any_output
from torchattr.core.select import find_layer, layer_names, missing
from torchattr.core.types import Forward, Layer, Tensors
from torchattr.errors import Hint, InputError, LayerError, WayOut
from torchattr.inspect.drawing import (
    CELL,
    Planes,
    PlaneStyle,
    chosen_indices,
    map_tile,
    signal_legend,
)
from torchattr.inspect.recording.module_stack import ModuleStack
from torchattr.inspect.recording.operation_calls import OperationCall, OperationWatcher
from torchattr.layers import Trace
from torchattr.show import (
    LIGHT,
    NO_HEAD,
    CaptionedGrid,
    Drawing,
    FigureHead,
    Legend,
    Look,
    notebook,
    rescale,
)

Mode = Literal["auto", "rgb", "channels", "mean"]

_SHOWN: Mapping[Mode, str] = {
    "rgb": "as red, green and blue",
    "channels": "a row for each kernel, a column for each input channel",
    "mean": "the mean over the input channels",
}

_Transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def conv_kernels(
    model: Forward,
    layer: Layer,
    inputs: Tensors | None = None,
    *,
    additional_forward_args: Any = None,
    output_channels: Sequence[int] | int | None = None,
    input_channels: Sequence[int] | int | None = None,
) -> Kernels:
    """Return the kernels of a convolution of any dimension, transposed ones included.

    Args:
        model: the model.
        layer: the name of a convolution, or the module. With `inputs` also the name of a
            functional one, such as `"block.conv"`; see :func:`feature_maps`.
        inputs: if given, the model runs once, and the kernels are those that it used.
        additional_forward_args: see :class:`Attribution`; used with `inputs` only.
        output_channels: the kernels to return, in this order; `None` returns all of them.
        input_channels: the input channels of each kernel, in this order; in a grouped
            convolution they count within the group.

    Raises:
        LayerError: an unknown layer, or one that is not a convolution.
        InputError: a channel out of range.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 5), torch.nn.ReLU())
    >>> found = ta.conv_kernels(model, "0", output_channels=range(8))
    >>> found.values.shape, found.picture().mode
    (torch.Size([8, 3, 5, 5]), 'RGB')
    """
    if inputs is None:
        name, weight = _of_module(model, layer)
    else:
        name, weight = _of_call(model, layer, inputs, additional_forward_args)
    outputs = chosen_indices(output_channels, len(weight), "output_channels")
    taken = chosen_indices(input_channels, weight.shape[1], "input_channels")
    return Kernels(name, weight[outputs][:, taken], tuple(outputs), tuple(taken))


def show_kernels(
    model: Forward,
    layer: Layer,
    *,
    output_channels: Sequence[int] | int | None = None,
    input_channels: Sequence[int] | int | None = None,
    **options: Any,
) -> Image.Image:
    """Draw the kernels of a convolution: :func:`conv_kernels`, then :meth:`Kernels.picture`.

    >>> import torch, torchattr as ta
    >>> ta.show_kernels(torch.nn.Sequential(torch.nn.Conv2d(3, 16, 5)), "0").mode
    'RGB'
    """
    kernels = conv_kernels(
        model, layer, output_channels=output_channels, input_channels=input_channels
    )
    return kernels.picture(**options)


@dataclass(frozen=True, eq=False)
class Kernels:
    """The kernels of a convolution.

    Attributes:
        layer: its name.
        values: `(output channels, input channels, ...)`, also for a transposed convolution.
        output_channels, input_channels: which of the layer's channels these are.
    """

    layer: str
    values: Tensor
    output_channels: tuple[int, ...]
    input_channels: tuple[int, ...]

    def __repr__(self) -> str:
        return f"Kernels({self.layer} {tuple(self.values.shape)})"

    def _repr_html_(self) -> str:
        return notebook(self, lambda: [(self.layer, self.picture())])

    def picture(self, mode: Mode = "auto", **options: Any) -> Image.Image:
        """Return the same as :meth:`draw`, with its options, as an RGB picture."""
        return self.draw(mode, **options).image()

    def draw(
        self,
        mode: Mode = "auto",
        *,
        shared: bool = False,
        percentile: float | None = None,
        cmap: str | None = "RdBu_r",
        columns: int | None = None,
        cell: int = CELL,
        head: FigureHead = NO_HEAD,
        look: Look = LIGHT,
    ) -> Drawing:
        """Draw the kernels on a grid, each with its number and the range of its weights.

        Args:
            mode: `"rgb"` draws a kernel over three input channels in colour, zero as mid grey;
                `"channels"` draws each input channel by itself, a row for each output channel;
                `"mean"` draws the mean over the input channels; `"auto"` takes the first of
                `"rgb"` and `"channels"` that fits (three and one input channels), else `"mean"`.
                In signed colours, zero is the middle.
            shared: scale all kernels together instead of independently.
            percentile: see :func:`torchattr.show.rescale`.
            cmap: see :func:`torchattr.show.colormap`; a diverging one.
            columns: number of columns.
            cell: minimum side length of a kernel in units.
            head: the model, which heads the grid.
            look: light or dark, and the pixels per unit.

        Raises:
            InputError: a mode that does not fit, or a page too large to draw.
        """
        check_choice("mode", mode, get_args(Mode))
        chosen = self._mode() if mode == "auto" else mode
        style = PlaneStyle(shared, percentile, cmap, columns, cell, True, "Weight")
        if chosen == "rgb":
            gallery, legends, note = self._in_colour(style)
        else:
            gallery, legends, note = self._in_planes(style, chosen)
        shape = " × ".join(map(str, self.values.shape[2:]))
        count, inputs = self.values.shape[:2]
        over = "1 input channel" if inputs == 1 else f"{inputs} input channels"
        facts = [f"{count} kernels of {shape} over {over}", _SHOWN[chosen] if inputs > 1 else ""]
        return head.draw(gallery, f"Kernels of {self.layer}", facts, legends, note, look)

    def _in_planes(self, style: PlaneStyle, mode: Mode) -> tuple[CaptionedGrid, list[Legend], str]:
        names = [f"kernel {one}" for one in self.output_channels]
        values = self.values.float()
        if mode == "mean":
            return style.gallery(Planes.of(values.mean(1), names))
        count = values.shape[1]
        if count > 1:
            names = [f"{one}, input {other}" for one in names for other in self.input_channels]
        rows = replace(style, columns=style.columns or (count if count > 1 else None))
        return rows.gallery(Planes.of(values.flatten(0, 1), names))

    def _mode(self) -> Mode:
        if self._fits_colour():
            return "rgb"
        return "channels" if self.values.shape[1] == 1 else "mean"

    def _fits_colour(self) -> bool:
        return self.values.dim() == 4 and self.values.shape[1] == 3

    def _in_colour(self, style: PlaneStyle) -> tuple[CaptionedGrid, list[Legend], str]:
        if not self._fits_colour():
            raise InputError(
                "{setting} needs kernels of two dimensions over three input channels, got the"
                f" shape {tuple(self.values.shape)}",
                hint=Hint(
                    "mode",
                    "rgb",
                    ways_out=[WayOut("choose three with {setting}", "input_channels")],
                ),
            )
        values = self.values.float().cpu().numpy()
        scaled = rescale(values, "all", style.percentile, style.shared)
        colours = np.rint(np.moveaxis(scaled, 1, -1) * 127.5 + 127.5).astype(np.uint8)
        tiles = [
            map_tile(picture, style.cell, [f"kernel {number} · {style.range_of(kernel)}"])
            for picture, number, kernel in zip(colours, self.output_channels, values, strict=True)
        ]
        return CaptionedGrid(tiles, style.columns), [signal_legend(3)], style.note


def _of_module(model: Forward, layer: Layer) -> tuple[str, Tensor]:
    name, module = find_layer(model, layer)
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or not isinstance(module, nn.modules.conv._ConvNd):
        raise LayerError(
            f"the layer {name!r} is {type(module).__name__}, not a convolution, so it has no"
            " kernels",
            hint=Hint(
                ways_out=[
                    WayOut("name a convolution"),
                    WayOut("or pass {setting} if it is called as a function", "inputs"),
                ]
            ),
        )
    if nn.parameter.is_lazy(weight):
        raise LayerError(f"the layer {name!r} is lazy and has no kernels yet; run the model once")
    if weight.is_meta:
        raise LayerError(f"the layer {name!r} is on the device meta, where kernels have no values")
    return name, _ordered(weight, isinstance(module, _Transposed), module.groups)


def _of_call(
    model: Forward, layer: Layer, inputs: Tensors, additional_forward_args: Any
) -> tuple[str, Tensor]:
    wanted = layer if isinstance(layer, str) else find_layer(model, layer)[0]
    ran: dict[str, OperationCall] = {}

    def note(one: OperationCall, output: Tensor) -> None:
        ran[one.name] = one

    names = layer_names(model)
    operations = OperationWatcher(names, ModuleStack(names), note)
    given = as_inputs(inputs, differentiable=False)
    arguments = as_arguments(additional_forward_args)
    Trace(operations.around(model), given.tensors, arguments, key=any_output)
    found = ran.get(wanted)
    if found is None:
        raise LayerError(missing(wanted, ran))
    if found.operation != "conv":
        raise LayerError(
            f"the layer {wanted!r} is {found.operation}, not a convolution, so it has no kernels"
        )
    call = found.call
    return wanted, _ordered(call.weight, call.transposed, call.groups)


def _ordered(weight: Tensor, transposed: bool, groups: int) -> Tensor:
    """Return kernels by output channel: a transposed convolution stores them by input channel."""
    weight = weight.detach()
    if not transposed:
        return weight.clone()
    grouped = weight.unflatten(0, (groups, -1))
    return torch.cat(list(grouped.transpose(1, 2))).contiguous()
