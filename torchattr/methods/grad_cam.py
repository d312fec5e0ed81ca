"""Grad-CAM, and its product with guided backpropagation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.rounding import settled_mean, settled_sum
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.core.warn import warn
from torchattr.errors import InputError, LayerError, NoPlacesWarning, ShapeError
from torchattr.layers import TapPoint
from torchattr.methods._gradient.grids import Grids, LayoutChoice, checked_layout
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._gradient.passes import Pass, PassResult
from torchattr.methods.base import GradientAttribution
from torchattr.methods.guided_backprop import GuidedBackprop
from torchattr.methods.registry import register_method


@register_method("grad_cam")
class GradCAM(GradientAttribution):
    """The layer's activations, each channel weighted by its mean gradient: `Σ_c ḡ_c · A_c`.

    The result has the layer's own resolution, `(N, 1, h, w)`. Several layers give a dict by name,
    all from one forward. Selvaraju et al. 2017, arXiv:1610.02391 (whose maps are rectified:
    `relu_attributions=True`).

    A map says *where* the layer holds evidence at its own, coarse resolution; it is *not* a pixel
    attribution, and enlarging it does not make it one. A map that is zero everywhere after
    rectification means that the evidence is against the class: it stays zero. So do weights and
    places whose terms cancel up to the rounding of their type.

    Args:
        layer: a name, pattern or module, or several; `None` takes the last layer with a grid of
            places on the way to the target, and says which.
        calls: which call counts of a layer that is called several times: `"last"` (the default,
            with a warning), `"first"`, `"sum"` or `"each"`.
        layout: how the layer's values are laid out: `"channels_first"`, `"channels_last"`,
            `"tokens"` `(N, tokens, C)` whose last ones are the places of a grid with the input's
            aspect, or a function from the values to `(N, C, h, w)`. By default it is found out by
            following the input's dimensions through the model.

    Raises:
        LayerError: an unknown layer; one that did not run; one whose values are no grid of places
            (attention heads and weights), or not known to be one; one whose first dimension is
            not the batch of the inputs (frames, windows, regions).
        DisconnectedError: the target does not depend on the layer by the graph.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.GradCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    differentiates_inputs: ClassVar[bool] = False

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(model, rules=rules, output=output, strict=strict)
        self._layers = LayerChoice(model, layer, calls)
        self._layout = checked_layout(layout)

    @property
    def several(self) -> bool:
        """Whether the result is a dict with several layers."""
        return self._layers.several

    def attribute(
        self,
        inputs: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
    ) -> Any:
        """Give the map of each layer.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: likewise.
            additional_forward_args: likewise.
            attribute_to_layer_input: look at what the layer takes instead of what it gives.
            relu_attributions: keep only evidence for the target, as the paper does.
            attr_dim_summation: sum over the channels; otherwise one map per channel.
        """
        return self._attribute(
            inputs,
            target,
            additional_forward_args,
            attribute_to_layer_input=attribute_to_layer_input,
            relu_attributions=relu_attributions,
            attr_dim_summation=attr_dim_summation,
        )

    def passes(
        self,
        inputs: Inputs,
        arguments: Sequence[Any],
        *,
        target: Any = None,
        attribute_to_layer_input: bool = False,
        **options: Any,
    ) -> Sequence[Pass]:
        layers = self._layers.resolve(inputs, arguments, self.output, target)
        return [
            Pass(self.table, TapPoint(module, attribute_to_layer_input, read=True), name)
            for name, module in layers.items()
        ]

    def combine(
        self,
        inputs: Inputs,
        found: Sequence[PassResult],
        *,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        **options: Any,
    ) -> Any:
        maps = {}
        for one in found:
            grids = Grids(one.name, inputs, self._layout)

            def of_call(number: int, one: PassResult = one, grids: Grids = grids) -> Any:
                call = one.calls[number]
                read = map(grids.of, call.values, one.gradients[number], call.layouts)
                return call.restore(
                    [_map(*pair, relu_attributions, attr_dim_summation) for pair in read]
                )

            maps[one.name] = self._layers.pick(one.name, range(len(one.calls)), of_call)
        return self._layers.form(maps)


@register_method("guided_grad_cam")
class GuidedGradCAM(GradientAttribution):
    """Guided backpropagation times the enlarged, rectified Grad-CAM, shaped like the input.

    One forward serves both. Several layers give a dict by name, from the same forward and one
    guided backward. Selvaraju et al. 2017, arXiv:1610.02391.

    With several inputs each gets the product of its own gradient; one onto which the map cannot be
    enlarged (a table beside a picture) gets an empty tensor of shape `(0,)`, and a
    :class:`NoPlacesWarning` says so. It is *not* zero there: nothing is said of such an input.

    It is as sharp as guided backpropagation and points where Grad-CAM points; the sharp part is
    still *not* class-discriminative (see :class:`GuidedBackprop`).

    Args:
        layer: as for :class:`GradCAM`.
        calls: as for :class:`GradCAM`, without `"each"`.
        layout: as for :class:`GradCAM`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> ta.GuidedGradCAM(model, layer="1").attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 3, 8, 8])
    """

    rules: ClassVar[Mapping[str, Any]] = GuidedBackprop.rules

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(model, rules=rules, output=output, strict=strict)
        self._cam = GradCAM(model, layer, calls=calls, layout=layout, output=output)
        self._guided = GuidedBackprop(model, rules=rules, output=output, strict=strict)

    def attribute(
        self,
        inputs: Tensors,
        target: Any = None,
        additional_forward_args: Any = None,
        interpolate_mode: str = "nearest",
        attribute_to_layer_input: bool = False,
    ) -> Any:
        """Give the product for each input.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: likewise.
            additional_forward_args: likewise.
            interpolate_mode: how the map is enlarged: a mode of `F.interpolate`.
            attribute_to_layer_input: as for :class:`GradCAM`.

        Raises:
            InputError: a mode that does not exist, or is not for maps of so many dimensions.
            ShapeError: no input onto whose shape the layer's map can be enlarged.
            LayerError: a layer that gives several tensors, and so several maps.
        """
        _check_mode(interpolate_mode, _MODES)
        return self._attribute(
            inputs,
            target,
            additional_forward_args,
            interpolate_mode=interpolate_mode,
            attribute_to_layer_input=attribute_to_layer_input,
        )

    def passes(
        self,
        inputs: Inputs,
        arguments: Sequence[Any],
        *,
        target: Any = None,
        attribute_to_layer_input: bool = False,
        **options: Any,
    ) -> Sequence[Pass]:
        cam = self._cam.passes(
            inputs, arguments, target=target, attribute_to_layer_input=attribute_to_layer_input
        )
        return [*self._guided.passes(inputs, arguments, target=target), *cam]

    def combine(
        self,
        inputs: Inputs,
        found: Sequence[PassResult],
        *,
        interpolate_mode: str = "nearest",
        **options: Any,
    ) -> Any:
        guided = found[0].gradients[0]
        maps = self._cam.combine(inputs, found[1:], relu_attributions=True)
        if not self._cam.several:
            return inputs.restore(_products(guided, maps, interpolate_mode))
        return {
            name: inputs.restore(_products(guided, one, interpolate_mode))
            for name, one in maps.items()
        }


def enlarge(maps: Tensor, size: Sequence[int], mode: str = "bilinear") -> Tensor:
    """Resize maps `(N, C, ...)` to spatial extents, as `F.interpolate` does.

    Raises:
        ShapeError: the number of spatial dimensions differs, or is none of 1 to 3.
        InputError: a mode that does not exist, or is not for so many dimensions.
    """
    if not _fits(maps, size):
        raise ShapeError(
            f"a map of shape {tuple(maps.shape)} cannot be enlarged to {tuple(size)}: its number"
            " of spatial dimensions differs; choose a layer whose output has places like the input"
        )
    _check_mode(mode, [known for known, spatial in _MODES.items() if len(size) in spatial])
    corners = {} if len(_MODES[mode]) > 1 else {"align_corners": False}
    return F.interpolate(maps, tuple(size), mode=mode, **corners)


_MODES: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(("nearest", "nearest-exact", "area"), (1, 2, 3)),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
}
"""For how many spatial dimensions each mode is; those for a single number of them are smooth."""


def _fits(maps: Tensor, size: Sequence[int]) -> bool:
    return maps.dim() - 2 == len(size) and len(size) in (1, 2, 3)


def _check_mode(mode: Any, modes: Iterable[str]) -> None:
    if mode not in tuple(modes):
        raise InputError(
            f"interpolate_mode must be one of {', '.join(map(repr, modes))} here, got {mode!r}"
        )


def _map(value: Tensor, gradient: Tensor, rectify: bool, sum_channels: bool) -> Tensor:
    spatial = tuple(range(2, gradient.dim()))
    weights = settled_mean(gradient, spatial) if spatial else gradient
    weighted = weights * value
    if sum_channels:
        weighted = settled_sum(weighted, (1,))
    return weighted.relu() if rectify else weighted


def _products(guided: Sequence[Tensor], maps: Any, mode: str) -> list[Tensor]:
    several = maps if isinstance(maps, tuple) else (maps,)
    if len(several) != 1 or not isinstance(several[0], Tensor):
        raise LayerError(
            f"GuidedGradCAM needs one map, but the layer gives {len(several)} tensors, each with a"
            " map of its own; choose a layer inside it, or multiply GradCAM's maps yourself"
        )
    placed = [_fits(several[0], grad.shape[2:]) for grad in guided]
    if not any(placed):
        enlarge(several[0], guided[0].shape[2:], mode)
    _warn_of_placeless([number for number, fits in enumerate(placed) if not fits], several[0])
    return [
        grad * enlarge(several[0], grad.shape[2:], mode) if fits else grad.new_empty(0)
        for grad, fits in zip(guided, placed, strict=True)
    ]


def _warn_of_placeless(positions: Sequence[int], maps: Tensor) -> None:
    if positions:
        names = ", ".join(f"inputs[{position}]" for position in positions)
        warn(
            f"GuidedGradCAM: the layer's map of shape {tuple(maps.shape)} cannot be laid over"
            f" {names}, which gets an empty tensor; ask GuidedBackprop for what it contributes",
            NoPlacesWarning,
        )
